//! What a function is called, and where it is: `JSFunction`, what all closures of it share, script.

use std::collections::HashMap;

use super::heap::{Heap, Key, is_object, number};
use crate::model::stack::{Frame, NODE, Runtime};

const MAX_NAME: usize = 256;
const MAX_PATH: usize = 768;
/// From bound function to bound function, and through wrappers of `once`.
const MAX_BOUND: usize = 8;
/// Source up to the function.
const MAX_SOURCE: u64 = 4 << 20;
/// And of all functions together.
const MAX_COUNTED: u64 = 32 << 20;
/// Variables of a function whose names are kept one by one (`kScopeInfoMaxInlinedLocalNamesSize`).
const MAX_INLINE_NAMES: u64 = 75;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// Node's own, or V8's.
    Runtime {
        name: String,
        file: String,
    },
    Program(Frame),
}

/// What was read of source files, for all functions of a process.
#[derive(Default)]
pub(super) struct Sources {
    lines: HashMap<(u64, u64), Option<u32>>,
    counted: u64,
}

/// Name and place, as far as what they share tells.
struct Scope {
    name: Option<String>,
    position: Option<(u64, u64)>,
}

impl Heap<'_, '_> {
    /// `None` where it is no function, or does not prove to be one.
    pub(super) fn function(&mut self, object: u64, sources: &mut Sources) -> Option<Function> {
        /// Behind the header that all objects have (`JSBoundFunction` of `js-function.tq`).
        const TARGET: u64 = 24;
        // What `once` wraps a listener in says which: a bound function to Node 22, since then a closure.
        let mut outermost = object;
        let mut object = object;
        for _ in 0..MAX_BOUND {
            let (function, bound) = (self.layout.types.function, self.layout.types.bound);
            let kind = self.kind(object)?;
            if kind == bound {
                object = self.field(object, TARGET)?;
                continue;
            }
            if kind != function {
                return None;
            }
            let found = self.closure(object, sources)?;
            let wraps = matches!(&found, Function::Runtime { file, .. } if file == "node:events");
            let listener = if wraps {
                let [listener] = self.properties(outermost, [Key::Name("listener")])?;
                listener
            } else {
                None
            };
            let Some(listener) = listener else {
                return Some(found);
            };
            (outermost, object) = (listener, listener);
        }
        None
    }

    fn closure(&mut self, object: u64, sources: &mut Sources) -> Option<Function> {
        let shared = self.field(object, self.layout.shared)?;
        self.shared(shared, sources)
    }

    /// By what all closures of a function share.
    pub(super) fn shared(&mut self, shared: u64, sources: &mut Sources) -> Option<Function> {
        if !self.is(shared, self.layout.types.shared) {
            return None;
        }
        let script = self.field(shared, self.layout.script)?;
        if self.is_nothing(script) {
            // Built into V8, or a function of C++: what resolves a promise, for one.
            return Some(Function::Runtime {
                name: String::new(),
                file: String::new(),
            });
        }
        if !self.is(script, self.layout.types.script) {
            return None;
        }
        let scope = self.scope(shared)?;
        let name = self.field(script, self.layout.script_name)?;
        let file = if self.is_text(name) {
            Some(self.text(name, MAX_PATH)?)
        } else {
            None
        };
        if let Some(file) = file.as_deref().filter(|file| file.starts_with("node:")) {
            return Some(Function::Runtime {
                name: scope.name.unwrap_or_default(),
                file: file.to_owned(),
            });
        }
        // Of code without a file, nobody can look a line up.
        let line = scope
            .position
            .filter(|_| file.is_some())
            .and_then(|position| self.line(script, position, sources));
        Some(Function::Program(Frame {
            function: Some(scope.name.unwrap_or_else(|| Frame::ANONYMOUS.to_owned())),
            module: Some(NODE.to_owned()),
            file: file.map(|file| match file.strip_prefix("file://") {
                Some(path) => path.to_owned(),
                None => file,
            }),
            line,
            runtime: Some(Runtime::Node),
            ..Frame::default()
        }))
    }

    fn scope(&mut self, shared: u64) -> Option<Scope> {
        let of = self.field(shared, self.layout.name_or_scope)?;
        if number(of) == Some(0) || self.is_text(of) {
            return Some(Scope {
                name: self.name(of),
                position: self.uncompiled(shared),
            });
        }
        if !self.is(of, self.layout.types.scope) {
            return None;
        }
        let first = self.layout.first_variable;
        let word = |heap: &mut Self, number: u64| heap.field(of, 8 + number * 8);
        let locals = u64::try_from(number(word(self, 2)?)?).ok()?;
        let names = if locals > MAX_INLINE_NAMES { 1 } else { locals };
        let at = first.checked_add(names)?.checked_add(locals)?;
        (at < 1 << 16).then_some(())?;
        // In a class there may be a number first: which of its variables is the class itself.
        let (before, behind) = (word(self, at)?, word(self, at + 1)?);
        let at = at + u64::from(number(before).is_some() && self.is_text(behind));
        // The function's name, where that is kept as a variable, and for most what is said of it where it has none.
        let (name, slot, inferred) = (word(self, at)?, word(self, at + 1)?, word(self, at + 2)?);
        let known = (self.is_text(name) || number(name) == Some(0))
            && number(slot).is_some_and(|slot| slot >= -1);
        known.then_some(())?;
        let is_inferred = self.is_text(inferred) || self.is_nothing(inferred);
        let position = if first > 3 {
            3
        } else {
            at + 2 + u64::from(is_inferred)
        };
        let ends = [word(self, position)?, word(self, position + 1)?].map(number);
        let position = match ends {
            [Some(start), Some(end)] if 0 <= start && start < end => {
                Some((u64::try_from(start).ok()?, u64::try_from(end).ok()?))
            }
            _ => None,
        };
        Some(Scope {
            name: self.name(name).or_else(|| self.name(inferred)),
            position,
        })
    }

    fn name(&mut self, object: u64) -> Option<String> {
        self.is_text(object)
            .then(|| self.text(object, MAX_NAME))
            .flatten()
            .filter(|name| !name.is_empty())
    }

    /// Of a function that was never called; what holds that is one of the first two words.
    fn uncompiled(&mut self, shared: u64) -> Option<(u64, u64)> {
        let [start, end] = self.layout.uncompiled;
        for offset in [8, 16] {
            let data = self.field(shared, offset)?;
            let kind = self.kind(data);
            if kind.is_some_and(|kind| self.layout.types.uncompiled.contains(&kind)) {
                let (start, end) = (self.half(data, start)?, self.half(data, end)?);
                return (start < end).then_some((start.into(), end.into()));
            }
        }
        None
    }

    /// By the ends of lines before it; `None` where the source is not at hand, or another one.
    fn line(
        &mut self,
        script: u64,
        (start, end): (u64, u64),
        sources: &mut Sources,
    ) -> Option<u32> {
        if let Some(known) = sources.lines.get(&(script, start)) {
            return *known;
        }
        let line = self.count_lines(script, start, end, sources);
        sources.lines.insert((script, start), line);
        line
    }

    fn count_lines(
        &mut self,
        script: u64,
        start: u64,
        end: u64,
        sources: &mut Sources,
    ) -> Option<u32> {
        /// `Script::line_offset` and `column_offset`, which `vm` can set, are the words behind its name.
        const OFFSETS: [u64; 2] = [8, 16];
        for offset in OFFSETS {
            let offset = self.field(script, self.layout.script_name + offset)?;
            (number(offset) == Some(0)).then_some(())?;
        }
        let source = self.field(script, self.layout.script_source)?;
        let flat = self.flat(source)?;
        let size = if flat.wide { 2 } else { 1 };
        sources.counted += start * size;
        let bounded = end <= flat.length && start <= MAX_SOURCE && sources.counted <= MAX_COUNTED;
        bounded.then_some(())?;
        let bytes = (start + 1).checked_mul(size)?;
        let bytes = self.memory.bytes(flat.at, usize::try_from(bytes).ok()?)?;
        let units: Vec<u16> = if flat.wide {
            let words = bytes.as_chunks::<2>().0.iter();
            words.map(|unit| u16::from_le_bytes(*unit)).collect()
        } else {
            bytes.into_iter().map(u16::from).collect()
        };
        let (first, before) = units.split_last()?;
        begins_function(*first).then_some(())?;
        line_of(before)
    }
}

/// A function begins with its parameters, or where it has just one, with that.
fn begins_function(unit: u16) -> bool {
    let Ok(byte) = u8::try_from(unit) else {
        return true;
    };
    matches!(byte, b'(' | b'_' | b'$') || byte.is_ascii_alphabetic() || !byte.is_ascii()
}

fn line_of(before: &[u16]) -> Option<u32> {
    const LINE_FEED: u16 = 10;
    const CARRIAGE_RETURN: u16 = 13;
    let ends = before.iter().enumerate().filter(|(at, unit)| match **unit {
        LINE_FEED | 0x2028 | 0x2029 => true,
        CARRIAGE_RETURN => before.get(at + 1) != Some(&LINE_FEED),
        _ => false,
    });
    u32::try_from(ends.count() + 1).ok()
}

/// Elements of an array of listeners; one alone is no array.
pub(super) fn listeners(
    heap: &mut Heap<'_, '_>,
    value: u64,
    most: usize,
) -> Option<(Vec<u64>, bool)> {
    if heap.is_nothing(value) {
        return Some((Vec::new(), false));
    }
    if !is_object(value) {
        return None;
    }
    if !heap.is(value, heap.layout.types.array) {
        return Some((vec![value], false));
    }
    // Behind the elements.
    let length = number(heap.field(value, heap.layout.elements + 8)?)?;
    let elements = heap.field(value, heap.layout.elements)?;
    let room = u64::try_from(number(heap.field(elements, 8)?)?).ok()?;
    let length = u64::try_from(length).ok()?;
    (is_object(elements) && length <= room).then_some(())?;
    let told = length.min(most as u64);
    let found = (0..told).map(|at| heap.field(elements, heap.layout.array_data + at * 8));
    let found: Option<Vec<u64>> = found.collect();
    Some((found?, told < length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_the_language_says() {
        let line = |text: &str| line_of(&text.encode_utf16().collect::<Vec<_>>());
        assert_eq!(line(""), Some(1));
        assert_eq!(line("a\nb"), Some(2));
        assert_eq!(line("a\r\nb\rc"), Some(3));
        assert_eq!(line("a\u{2028}b\n"), Some(3));
    }

    #[test]
    fn what_begins_no_function_has_no_line() {
        for byte in "(a$_".bytes() {
            assert!(begins_function(byte.into()));
        }
        for byte in " )\n{}0".bytes() {
            assert!(!begins_function(byte.into()));
        }
    }
}
