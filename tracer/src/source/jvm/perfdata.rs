//! The performance data that a `HotSpot` virtual machine publishes (`/tmp/hsperfdata_USER/PID`, mapped in
//! its memory): says whether the machine takes requests. The layout is that of the JDK's
//! `perfMemory.hpp`, version 2.

/// The machine's usual size is 32 KiB.
pub(super) const MAX_BYTES: usize = 1 << 20;
const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];
/// Of one entry, without its name and value.
const ENTRY: usize = 20;
const MAX_ENTRIES: usize = 4096;
/// The first character tells whether requests are taken; the JDK's own tools go by it.
const CAPABILITIES: &[u8] = b"sun.rt.jvmCapabilities";

/// Whether the machine takes requests; `None` when the data does not say.
pub(super) fn takes_requests(data: &[u8]) -> Option<bool> {
    let data = Data::new(data)?;
    let mut at = data.number(24)?;
    let entries = data.number(28)?.min(MAX_ENTRIES);
    for _ in 0..entries {
        let length = data.number(at)?;
        if length < ENTRY {
            return None;
        }
        let entry = data.part(at, length)?;
        let name = entry.bytes.get(entry.number(4)?..)?;
        if name.split(|byte| *byte == 0).next() == Some(CAPABILITIES) {
            let value = entry.bytes.get(entry.number(16)?)?;
            return Some(*value == b'1');
        }
        at = at.checked_add(length)?;
    }
    None
}

#[derive(Clone, Copy)]
struct Data<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl<'a> Data<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let [order, major] = *bytes.strip_prefix(&MAGIC)?.first_chunk()?;
        (major == 2).then_some(Self {
            bytes,
            little_endian: order == 1,
        })
    }

    fn part(self, at: usize, length: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.get(at..at.checked_add(length)?)?,
            ..self
        })
    }

    /// Offsets and lengths, which are never negative.
    fn number(self, at: usize) -> Option<usize> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        let number = if self.little_endian {
            i32::from_le_bytes(bytes)
        } else {
            i32::from_be_bytes(bytes)
        };
        usize::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
        let value_at = ENTRY + name.len() + 1;
        let length = value_at + value.len();
        let mut entry = Vec::new();
        for number in [length, ENTRY, value.len()] {
            entry.extend((number as u32).to_le_bytes());
        }
        entry.extend([b'B', 0, 1, 1]);
        entry.extend((value_at as u32).to_le_bytes());
        entry.extend(name);
        entry.push(0);
        entry.extend(value);
        entry
    }

    fn data(capabilities: &[u8]) -> Vec<u8> {
        let mut data = MAGIC.to_vec();
        data.extend([1, 2, 0, 1]);
        for number in [0_u32, 0, 0, 0, 32, 2] {
            data.extend(number.to_le_bytes());
        }
        data.extend(entry(b"java.cls.loadedClasses", &[0; 8]));
        data.extend(entry(CAPABILITIES, capabilities));
        data
    }

    #[test]
    fn the_first_capability_is_whether_requests_are_taken() {
        assert_eq!(takes_requests(&data(b"1100")), Some(true));
        assert_eq!(takes_requests(&data(b"0100")), Some(false));
        assert_eq!(takes_requests(&data(b"")), None);
        assert_eq!(takes_requests(b""), None);
        let mut other = data(b"1100");
        other[0] = 0;
        assert_eq!(takes_requests(&other), None);
    }

    proptest! {
        #[test]
        fn no_data_is_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..120) {
            let _any = takes_requests(&bytes);
            bytes.splice(0..0, MAGIC.into_iter().chain([1, 2]));
            let _any = takes_requests(&bytes);
            let mut changed = data(b"1100");
            for (old, new) in changed.iter_mut().skip(at).zip(bytes) {
                *old = new;
            }
            let _any = takes_requests(&changed);
        }
    }

    #[test]
    fn damaged_data_is_read() {
        crate::damaged::run("hsperfdata", 4000, |bytes| {
            takes_requests(bytes);
        });
    }
}
