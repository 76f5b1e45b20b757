//! Lines of `START SIZE NAME`, hexadecimal, as runtimes append them while they run: code is written
//! where older code was, so a later line takes the place of earlier ones.

use std::collections::BTreeMap;
use std::ops::Range;

/// Far above what fits into the largest file with usual names.
const MAX_ENTRIES: usize = 1 << 20;

/// Code that one line names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    end: u64,
    name: Range<usize>,
    java: bool,
}

#[derive(Default)]
pub(super) struct List {
    text: String,
    entries: BTreeMap<u64, Entry>,
}

/// A name as the runtime wrote it; Java's are told by the addresses beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub text: &'a str,
    pub java: bool,
}

impl List {
    pub(super) fn parse(text: String) -> Self {
        let mut entries = BTreeMap::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let begin = at;
            at += line.len();
            // The last line may be half written.
            let Some(line) = line.strip_suffix('\n') else {
                break;
            };
            if let Some((start, entry)) = entry(line, begin)
                && entries.len() < MAX_ENTRIES
            {
                insert(&mut entries, start, entry);
            }
        }
        Self { text, entries }
    }

    pub(super) fn find(&self, address: u64) -> Option<Name<'_>> {
        let (_, entry) = self.entries.range(..=address).next_back()?;
        (address < entry.end).then_some(())?;
        let text = self.text.get(entry.name.clone())?;
        let java = entry.java;
        Some(Name { text, java })
    }
}

fn entry(line: &str, begin: usize) -> Option<(u64, Entry)> {
    let (start, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let java = start.starts_with("0x");
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let (start, size) = (number(start)?, number(size)?);
    let end = start.checked_add(size)?;
    let from = begin + (line.len() - name.len());
    let name = from..begin + line.len();
    (size > 0 && !name.is_empty()).then_some((start, Entry { end, name, java }))
}

/// Earlier code is gone as a whole where later code overlaps it.
fn insert(entries: &mut BTreeMap<u64, Entry>, start: u64, entry: Entry) {
    while let Some((old, _)) = entries.range(..entry.end).next_back()
        && let old = *old
        && entries.get(&old).is_some_and(|found| found.end > start)
    {
        entries.remove(&old);
    }
    entries.insert(start, entry);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(text: &str, address: u64) -> Option<&'static str> {
        let list = Box::leak(Box::new(List::parse(text.to_owned())));
        list.find(address).map(|name| name.text)
    }

    #[test]
    fn the_latest_line_for_an_address_counts() {
        let text = "1000 100 old one\n1100 80 other\n1080 40 new\n0x2000 0x10 java\n3000 10 half";
        assert_eq!(find(text, 0x1080), Some("new"));
        assert_eq!(find(text, 0x10bf), Some("new"));
        // What is left of the old one is not code any more.
        assert_eq!(find(text, 0x1000), None);
        assert_eq!(find(text, 0x1100), Some("other"));
        assert_eq!(find(text, 0x1180), None);
        assert_eq!(find(text, 0x200f), Some("java"));
        assert_eq!(find(text, 0x3000), None);
    }

    #[test]
    fn lines_of_another_form_are_passed_over() {
        for text in [
            "x y z\n",
            "1000\n",
            "1000 10\n",
            "1000 0 zero\n",
            " \n",
            "ffffffffffffffff 2 wraps\n",
            "1000 10 \n",
        ] {
            assert_eq!(find(text, 0x1000), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([0-9a-fx]{0,17} [0-9a-f]{0,17} ?[\\PC]{0,8}\n?){0,20}", address: u64) {
            List::parse(text).find(address);
        }
    }

    #[test]
    fn damaged_lists_are_read() {
        crate::damaged::run("perf-map", 20_000, |bytes| {
            let list = List::parse(String::from_utf8_lossy(bytes).into_owned());
            list.find(0x7f00_0000_1001);
        });
    }
}
