//! Memory of the one process that the current job is about, page by page, as the tracer reads it on request.
//! What it holds may be a lie and may change at any time: whoever follows pointers counts the steps.

use std::collections::HashMap;

pub(in crate::symbolize) const PAGE: u64 = 4096;
/// Pages asked for at once.
pub(in crate::symbolize) const MAX_AT_ONCE: usize = 64;
/// Rounds for one job; each takes some ten microseconds.
pub(in crate::symbolize) const MAX_ROUNDS: usize = 4096;
/// And pages; 8 MiB.
pub(in crate::symbolize) const MAX_PAGES: usize = 2048;
/// And for all goroutines of a process; 64 MiB.
pub(in crate::symbolize) const MAX_PAGES_OF_GOROUTINES: usize = 16_384;
/// User space ends here with four levels of page tables; nothing of a runtime lies above.
pub(in crate::symbolize) const END: u64 = 1 << 47;
/// Bytes that a report shows of a name.
pub(super) const MAX_TEXT: usize = 512;

/// Takes addresses of pages, at most [`MAX_AT_ONCE`], and gives each one's bytes or `None`.
pub(in crate::symbolize) type Fetch<'a> = dyn FnMut(&[u64]) -> Vec<Option<Vec<u8>>> + 'a;

pub(in crate::symbolize) struct Memory<'a> {
    fetch: &'a mut Fetch<'a>,
    pages: HashMap<u64, Option<Vec<u8>>>,
    /// Pages that are read along behind one that is missing.
    ahead: u64,
    most: usize,
    rounds: usize,
    most_rounds: usize,
    refused: bool,
    /// Places and lengths of what was taken, while that is to be checked in the end.
    taken: Option<Vec<(u64, usize)>>,
}

impl<'a> Memory<'a> {
    pub(in crate::symbolize) fn new(fetch: &'a mut Fetch<'a>) -> Self {
        Self {
            fetch,
            pages: HashMap::new(),
            ahead: 0,
            most: MAX_PAGES,
            rounds: 0,
            most_rounds: MAX_ROUNDS,
            refused: false,
            taken: None,
        }
    }

    pub(in crate::symbolize) fn with_room(mut self, pages: usize) -> Self {
        self.most = pages;
        self
    }

    /// For one of several looks that share a job.
    pub(in crate::symbolize) fn with_rounds(mut self, rounds: usize) -> Self {
        self.most_rounds = rounds;
        self
    }

    /// Nothing was found where there must be something later.
    pub(super) fn too_early(&mut self) {
        self.refused = true;
    }

    /// For tables, which are read from their start to their end.
    pub(super) fn read_ahead(&mut self, pages: u64) {
        self.ahead = pages;
    }

    /// What lies there is to be read again.
    pub(super) fn forget(&mut self, at: u64) {
        self.pages.remove(&(at & !(PAGE - 1)));
    }

    /// What `read` finds, if all that it went by is the same once it has found it: pages come one after another while the
    /// process runs, and it may put something else there in between.
    pub(super) fn steadily<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.taken = Some(Vec::new());
        let found = read(self);
        let taken = self.taken.take().unwrap_or_default();
        let before = self.contents(&taken);
        for (at, _) in &taken {
            self.forget(*at);
        }
        self.want(taken.iter().map(|(at, _)| *at));
        let now = self.contents(&taken);
        // A process that is gone by then has put nothing there.
        let is_gone = now.iter().all(Option::is_none);
        (is_gone || now == before).then_some(found)
    }

    fn contents(&mut self, taken: &[(u64, usize)]) -> Vec<Option<Vec<u8>>> {
        let taken = taken.iter();
        taken.map(|(at, length)| self.bytes(*at, *length)).collect()
    }

    /// Something could not be read: what was concluded from that may be wrong another time.
    pub(in crate::symbolize) fn was_refused(&self) -> bool {
        self.refused
    }

    /// No more can be read.
    pub(super) fn is_full(&self) -> bool {
        self.pages.len() + MAX_AT_ONCE > self.most || self.rounds >= self.most_rounds
    }

    /// Has the pages at these addresses read in few rounds; what is beyond the bounds stays unread.
    pub(in crate::symbolize) fn want(&mut self, addresses: impl IntoIterator<Item = u64>) {
        let mut missing: Vec<u64> = addresses
            .into_iter()
            .map(|address| address & !(PAGE - 1))
            .filter(|page| *page != 0 && *page < END && !self.pages.contains_key(page))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        for some in missing.chunks(MAX_AT_ONCE) {
            let room = self.pages.len() + some.len() <= self.most;
            if !room || self.rounds >= self.most_rounds {
                self.refused = true;
                return;
            }
            self.rounds += 1;
            let mut found = (self.fetch)(some).into_iter();
            for page in some {
                let bytes = found.next().flatten();
                let whole = bytes.filter(|bytes| bytes.len() as u64 == PAGE);
                self.refused |= whole.is_none();
                self.pages.insert(*page, whole);
            }
        }
    }

    pub(super) fn fill(&mut self, at: u64, buffer: &mut [u8]) -> Option<()> {
        let end = at.checked_add(buffer.len() as u64)?;
        if end > END {
            return None;
        }
        let first = at & !(PAGE - 1);
        let is_known = |page| self.pages.contains_key(&page);
        if !(first..end).step_by(PAGE as usize).all(is_known) {
            let end = end.saturating_add(self.ahead * PAGE);
            self.want((first..end).step_by(PAGE as usize));
        }
        let (start, length) = (at, buffer.len());
        let mut at = at;
        let mut rest = buffer;
        while !rest.is_empty() {
            let page = self.pages.get(&(at & !(PAGE - 1)))?.as_ref()?;
            let from = page.get((at % PAGE) as usize..)?;
            let count = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut_checked(count)?;
            now.copy_from_slice(from.get(..count)?);
            rest = later;
            at += count as u64;
        }
        // Of a long text, the object that it belongs to says whether it is still the same.
        if let Some(taken) = &mut self.taken
            && length <= PAGE as usize
        {
            taken.push((start, length));
        }
        Some(())
    }

    pub(super) fn array<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(at, &mut bytes)?;
        Some(bytes)
    }

    pub(super) fn bytes(&mut self, at: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(at, &mut bytes)?;
        Some(bytes)
    }

    /// Up to a zero byte, which must come within `limit`.
    pub(super) fn string(&mut self, at: u64, limit: usize) -> Option<String> {
        let mut text = Vec::new();
        while text.len() < limit {
            let at = at.checked_add(text.len() as u64)?;
            let in_page = (PAGE - at % PAGE) as usize;
            let bytes = self.bytes(at, in_page.min(limit - text.len()))?;
            let end = bytes.iter().position(|byte| *byte == 0);
            text.extend_from_slice(bytes.get(..end.unwrap_or(bytes.len()))?);
            if end.is_some() {
                return String::from_utf8(text).ok();
            }
        }
        None
    }

    pub(super) fn word(&mut self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// One that changes while the object stays what it is, as a count of references does: [`Self::steadily`] leaves it out.
    pub(super) fn restless_word(&mut self, at: u64) -> Option<u64> {
        let taken = self.taken.take();
        let word = self.word(at);
        self.taken = taken;
        word
    }

    pub(super) fn half(&mut self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for_once_and_within_bounds() {
        let mut asked = Vec::new();
        let mut fetch = |pages: &[u64]| {
            asked.extend_from_slice(pages);
            let page = |page: &u64| (*page != 0x3000).then(|| vec![(page >> 12) as u8; 4096]);
            pages.iter().map(page).collect()
        };
        let mut memory = Memory::new(&mut fetch);
        assert_eq!(memory.array(0x1ffe), Some([1, 1, 2, 2]));
        assert_eq!(memory.half(0x1000), Some(0x0101_0101));
        assert_eq!(memory.word(0x2ffc), None, "half of it cannot be read");
        assert_eq!(memory.word(0), None, "never asked for");
        assert_eq!(memory.word(END - 4), None);
        assert_eq!(memory.word(u64::MAX), None);
        memory.want((1..10_000).map(|page| page * PAGE));
        drop(memory);
        assert!(asked.starts_with(&[0x1000, 0x2000, 0x3000]), "{asked:x?}");
        assert!(asked.len() <= MAX_PAGES);
    }

    #[test]
    fn what_changes_while_it_is_read_is_nothing() {
        let mut rounds = 0_u8;
        // From the third round on another thing lies in the second page.
        let mut fetch = |pages: &[u64]| {
            rounds += 1;
            let of = |page: &u64| Some(vec![if *page == 0x2000 { rounds / 3 } else { 7 }; 4096]);
            pages.iter().map(of).collect()
        };
        let mut memory = Memory::new(&mut fetch);
        let both = |memory: &mut Memory<'_>| (memory.half(0x1000), memory.half(0x2000));
        assert_eq!(memory.steadily(both), None);
        let now = Some((Some(0x0707_0707), Some(0x0101_0101)));
        assert_eq!(memory.steadily(both), now);
        let outside = |memory: &mut Memory<'_>| memory.half(0x1000);
        assert_eq!(memory.steadily(outside), Some(Some(0x0707_0707)));
        drop(memory);
        let mut rounds = 0_u8;
        let mut fetch = |pages: &[u64]| {
            rounds += 1;
            pages.iter().map(|_| Some(vec![rounds; 4096])).collect()
        };
        let mut memory = Memory::new(&mut fetch);
        let counted = |memory: &mut Memory<'_>| memory.restless_word(0x1000).is_some();
        assert_eq!(memory.steadily(counted), Some(true));
        drop(memory);
        let mut lives = true;
        let mut fetch = |pages: &[u64]| {
            let was_there = std::mem::replace(&mut lives, false);
            pages
                .iter()
                .map(|_| was_there.then(|| vec![7; 4096]))
                .collect()
        };
        let mut memory = Memory::new(&mut fetch);
        let last = |memory: &mut Memory<'_>| memory.half(0x1000);
        assert_eq!(
            memory.steadily(last),
            Some(Some(0x0707_0707)),
            "it has ended"
        );
    }

    #[test]
    fn looks_that_share_a_job_leave_rounds_for_each_other() {
        let mut rounds = 0;
        let mut fetch = |pages: &[u64]| {
            rounds += 1;
            pages.iter().map(|_| Some(vec![0; 4096])).collect()
        };
        let mut memory = Memory::new(&mut fetch).with_rounds(2);
        assert!(memory.word(0x1000).is_some() && !memory.is_full());
        assert!(memory.word(0x2000).is_some() && memory.is_full());
        assert_eq!(memory.word(0x3000), None);
        assert!(memory.was_refused());
        drop(memory);
        assert_eq!(rounds, 2);
    }
}
