//! Calls that the Go compiler replaced by the called function's body: their names and places.

use super::function::Function;
use super::header::{Header, Version};
use super::window::{Source, Window};
use crate::symbolize::demangle::{MAX_NAME, cut};
use crate::symbolize::names::Place;

/// Deeper nests are not believed.
const MAX_DEPTH: usize = 64;

/// What is at `pc`, innermost first. Without the tree (`trees` is where all of them are), code that
/// was inlined is still the function's that holds it, but its line is of another file.
pub(super) fn places(
    source: &impl Source,
    header: &Header,
    trees: Option<Window>,
    function: &Function,
    pc: u64,
) -> Option<Vec<Place>> {
    let name = function.name(source, header)?;
    let nest = nest(source, header, trees, function, pc);
    let (mut places, pc) = match nest {
        Some((places, pc)) => (places, Some(pc)),
        None => (Vec::new(), None),
    };
    let (file, line) = pc.map_or((None, None), |pc| location(source, header, function, pc));
    places.push(Place {
        function: Some(shown(&name)),
        file,
        line,
        inlined: false,
    });
    Some(places)
}

/// Generated code has a line, but no file that it would be in.
fn location(
    source: &impl Source,
    header: &Header,
    function: &Function,
    pc: u64,
) -> (Option<String>, Option<u32>) {
    let Some(file) = function.file(source, header, pc) else {
        return (None, None);
    };
    let file = cut(&file, MAX_NAME).to_owned();
    (Some(file), function.line(source, header, pc))
}

/// The inlined calls, and where in the function itself the outermost of them was made.
fn nest(
    source: &impl Source,
    header: &Header,
    trees: Option<Window>,
    function: &Function,
    pc: u64,
) -> Option<(Vec<Place>, u64)> {
    let mut places = Vec::new();
    let mut pc = pc;
    let mut number = function.inlined(source, header, pc).ok()?;
    while let Some(inlined) = number {
        let tree = trees?.from(function.inline_tree(source, header)?.into())?;
        let call = Call::read(source, header, tree, inlined)?;
        if places.len() == MAX_DEPTH || !call.is_plausible(source, header, function) {
            return None;
        }
        let (file, line) = location(source, header, function, pc);
        places.push(Place {
            function: Some(shown(&header.names.text(source, call.name.into())?)),
            file,
            line,
            inlined: true,
        });
        pc = function.range.start.checked_add(call.site.into())?;
        number = match call.parent {
            Some(parent) => u32::try_from(parent).ok(),
            None => function.inlined(source, header, pc).ok()?,
        };
    }
    Some((places, pc))
}

/// One entry of a tree.
pub(super) struct Call {
    name: u32,
    /// Offset in the function of an instruction at the place of the call.
    site: u32,
    /// Written before 1.20; since then the call site's own table entry says it.
    parent: Option<i16>,
}

impl Call {
    pub(super) fn read(
        source: &impl Source,
        header: &Header,
        tree: Window,
        number: u32,
    ) -> Option<Self> {
        let number = u64::from(number);
        if header.version < Version::Go1_20 {
            let entry = tree.from(number.checked_mul(20)?)?;
            return Some(Self {
                name: entry.u32(source, 12)?,
                site: entry.u32(source, 16)?,
                parent: Some(i16::from_le_bytes(entry.bytes(source, 0)?)),
            });
        }
        let entry = tree.from(number.checked_mul(16)?)?;
        Some(Self {
            name: entry.u32(source, 4)?,
            site: entry.u32(source, 8)?,
            parent: None,
        })
    }

    /// The name is a whole one and the call lies in the function: hardly ever true of other bytes.
    pub(super) fn is_plausible(
        &self,
        source: &impl Source,
        header: &Header,
        function: &Function,
    ) -> bool {
        let size = function.range.end - function.range.start;
        let before = u64::from(self.name).checked_sub(1);
        let before = before.and_then(|at| header.names.bytes(source, at));
        u64::from(self.site) < size && (self.name == 0 || before == Some([0]))
    }
}

/// As Go's own traces show generic functions: without the shapes of their types.
fn shown(name: &str) -> String {
    let bounded = |name: &str| cut(name, MAX_NAME).to_owned();
    match (name.find('['), name.rfind(']')) {
        (Some(open), Some(close)) if open < close => {
            let (head, tail) = (name.get(..open), name.get(close + 1..));
            bounded(&format!(
                "{}[...]{}",
                head.unwrap_or_default(),
                tail.unwrap_or_default()
            ))
        }
        _ => bounded(name),
    }
}
