//! Methods: class, name, source file and line.

use super::stream::{self, Packing};
use super::tables::{Field, Tables};
use crate::model::stack::{Frame, JAVA};
use crate::symbolize::runtimes::memory::{MAX_TEXT, Memory};

/// A class file cannot have longer names in practice; longer is nonsense.
const MAX_SYMBOL: u64 = 2000;
/// Bytes of a table of lines that are looked at.
const MAX_LINES: usize = 64 << 10;
const NATIVE: u64 = 0x100;
/// What the format of class files allows.
const MAX_METHODS: u64 = 65_535;

pub(super) struct Methods {
    constant: Field,
    access: Field,
    constants: Field,
    code_size: Field,
    name_index: Field,
    flags: Field,
    constant_size: u64,
    holder: Field,
    of_class: Field,
    list_length: Field,
    list_data: Field,
    pool_size: u64,
    class_name: Field,
    source_in_pool: Option<Field>,
    source_in_class: Option<Field>,
    symbol_length: Field,
    symbol_body: Field,
    packing: Packing,
}

/// One method, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub method: u64,
    /// `None` in native methods.
    pub bytecode: Option<u32>,
    pub inlined: bool,
    /// Of the code that was executed: what took its place has another one.
    pub identity: u64,
}

impl Methods {
    pub(super) fn of(tables: &Tables, packing: Packing) -> Option<Self> {
        let flags = tables.field("ConstMethod", "_flags");
        let length = tables.field("Array<int>", "_length");
        let length = length.or_else(|| tables.field("Array<Klass*>", "_length"));
        Some(Self {
            constant: tables.field("Method", "_constMethod")?,
            access: tables.field("Method", "_access_flags")?,
            constants: tables.field("ConstMethod", "_constants")?,
            code_size: tables.field("ConstMethod", "_code_size")?,
            name_index: tables.field("ConstMethod", "_name_index")?,
            flags: flags.or_else(|| tables.field("ConstMethod", "_flags._flags"))?,
            constant_size: tables.size("ConstMethod")?,
            holder: tables.field("ConstantPool", "_pool_holder")?,
            of_class: tables.field("InstanceKlass", "_methods")?,
            list_length: length?,
            list_data: tables.field("Array<Method*>", "_data")?,
            pool_size: tables.size("ConstantPool")?,
            class_name: tables.field("Klass", "_name")?,
            source_in_pool: tables.field("ConstantPool", "_source_file_name_index"),
            source_in_class: tables.field("InstanceKlass", "_source_file_name_index"),
            symbol_length: tables.field("Symbol", "_length")?,
            symbol_body: tables.field("Symbol", "_body")?,
            packing,
        })
    }

    /// Where in a method an interpreter is that has this pointer to its bytecodes.
    pub(super) fn interpreted(
        &self,
        memory: &mut Memory<'_>,
        method: u64,
        pointer: u64,
    ) -> Option<Place> {
        let constant = self.constant.of(memory, method)?;
        let size = self.code_size.of(memory, constant)?;
        let native = self.access.of(memory, method)? & NATIVE != 0;
        let begin = constant.checked_add(self.constant_size)?;
        let bytecode = pointer.checked_sub(begin).filter(|at| *at < size);
        let known = self.is_one_of_its_class(memory, method, constant)?;
        (known && (native || bytecode.is_some())).then_some(Place {
            method,
            bytecode: bytecode
                .filter(|_| !native)
                .and_then(|at| u32::try_from(at).ok()),
            inlined: false,
            identity: method.wrapping_mul(31) ^ constant,
        })
    }

    /// Whether the class that the method belongs to has it. What is left of an unloaded one is in nobody's list.
    fn is_one_of_its_class(
        &self,
        memory: &mut Memory<'_>,
        method: u64,
        constant: u64,
    ) -> Option<bool> {
        let pool = self.constants.of(memory, constant)?;
        let holder = self.holder.of(memory, pool)?;
        let list = self.of_class.of(memory, holder)?;
        let count = self.list_length.of(memory, list)?.min(MAX_METHODS);
        let first = self.list_data.place(list)?;
        let bytes = memory.bytes(first, count as usize * 8)?;
        let all = bytes.as_chunks::<8>().0;
        Some(all.iter().any(|one| u64::from_le_bytes(*one) == method))
    }

    /// Has all that a stack's methods refer to read in few rounds.
    pub(super) fn want(&self, memory: &mut Memory<'_>, places: &[Place]) {
        memory.want(places.iter().map(|place| place.method));
        let constants: Vec<u64> = places
            .iter()
            .filter_map(|place| self.constant.of(memory, place.method))
            .collect();
        memory.want(
            constants
                .iter()
                .flat_map(|at| [*at, at.wrapping_add(self.constant_size)]),
        );
        let pools: Vec<u64> = constants
            .iter()
            .filter_map(|constant| self.constants.of(memory, *constant))
            .collect();
        memory.want(pools.iter().copied());
    }

    pub(super) fn frame(&self, memory: &mut Memory<'_>, place: &Place) -> Option<Frame> {
        let constant = self.constant.of(memory, place.method)?;
        let pool = self.constants.of(memory, constant)?;
        let holder = self.holder.of(memory, pool)?;
        let class = self.class_name.of(memory, holder)?;
        let class = self.symbol(memory, class)?.replace('/', ".");
        let name = self.name_index.of(memory, constant)?;
        let name = self.entry(memory, pool, name)?;
        let source = match (self.source_in_pool, self.source_in_class) {
            (Some(index), _) => index.of(memory, pool)?,
            (None, Some(index)) => index.of(memory, holder)?,
            (None, None) => 0,
        };
        let file = if source == 0 {
            None
        } else {
            self.entry(memory, pool, source)
        };
        let mut function = format!("{}.{name}", hidden(&class));
        function.truncate(function.floor_char_boundary(MAX_TEXT));
        Some(Frame {
            function: Some(function),
            module: Some(JAVA.to_owned()),
            line: place
                .bytecode
                .and_then(|at| self.line(memory, constant, at)),
            file,
            inlined: place.inlined,
            ..Frame::default()
        })
    }

    fn line(&self, memory: &mut Memory<'_>, constant: u64, bytecode: u32) -> Option<u32> {
        const HAS_LINES: u64 = 1;
        if self.flags.of(memory, constant)? & HAS_LINES == 0 {
            return None;
        }
        let size = self.code_size.of(memory, constant)?;
        if u64::from(bytecode) >= size {
            return None;
        }
        let table = constant
            .checked_add(self.constant_size)?
            .checked_add(size)?;
        // Its length is nowhere; it ends with a zero.
        let mut length = 256;
        while length <= MAX_LINES {
            let bytes = memory.bytes(table, length);
            let bytes = bytes.or_else(|| memory.bytes(table, 4096 - (table % 4096) as usize))?;
            if let Some(line) = stream::line(&bytes, self.packing, bytecode) {
                return Some(line);
            }
            length *= 4;
        }
        None
    }

    /// The name of a class, as class files have it.
    pub(super) fn class(&self, memory: &mut Memory<'_>, class: u64) -> Option<String> {
        let name = self.class_name.of(memory, class)?;
        self.symbol(memory, name)
    }

    /// Whether the method has this name.
    pub(super) fn is_called(&self, memory: &mut Memory<'_>, method: u64, name: &str) -> bool {
        let mut own = || {
            let constant = self.constant.of(memory, method)?;
            let pool = self.constants.of(memory, constant)?;
            let index = self.name_index.of(memory, constant)?;
            self.entry(memory, pool, index)
        };
        own().as_deref() == Some(name)
    }

    pub(super) fn entry(&self, memory: &mut Memory<'_>, pool: u64, index: u64) -> Option<String> {
        let entry = pool.checked_add(self.pool_size)?.checked_add(index * 8)?;
        let symbol = memory.word(entry)?;
        self.symbol(memory, symbol)
    }

    fn symbol(&self, memory: &mut Memory<'_>, symbol: u64) -> Option<String> {
        let length = self.symbol_length.of(memory, symbol)?;
        if length == 0 || length > MAX_SYMBOL {
            return None;
        }
        let bytes = memory.bytes(self.symbol_body.place(symbol)?, length as usize)?;
        // Java writes some characters in its own way; what cannot be read so is shown as such.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (!text.chars().any(char::is_control)).then_some(text)
    }
}

/// Classes without a name of their own have an address at the end, as in `A$$Lambda+0x7f00`: a number that another
/// run would not have.
fn hidden(class: &str) -> &str {
    match class.split_once(['+']) {
        Some((name, rest)) if rest.starts_with("0x") => name,
        _ => class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_no_part_of_a_class() {
        assert_eq!(hidden("app.A$$Lambda+0x00007f0000"), "app.A$$Lambda");
        assert_eq!(hidden("app.A"), "app.A");
    }
}
