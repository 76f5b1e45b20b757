//! Pages of a process's memory for the helper, which asks for them while it names a stack of that process. Whatever it
//! asks for, it gets memory of no other process, and not without end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::maps::{self, Start};
use super::runtimes::memory::{END, MAX_AT_ONCE, MAX_ROUNDS, PAGE};

/// For all of them, however slow the helper is.
const WHOLE: Duration = Duration::from_secs(2);

pub(super) struct Remote {
    /// Stays that of the address space it was opened for, whoever gets the number or executes what program.
    memory: File,
    until: Instant,
    rounds: usize,
    pages: usize,
    most: usize,
}

impl Remote {
    /// At most so many pages. `None` when the process is another one by now, or may not be read.
    pub(super) fn open(pid: u32, start: Start, most: usize) -> Option<Self> {
        let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
        // After the file was opened: so it is of this process.
        let same = maps::started(pid).is_some_and(|live| live.same(start));
        same.then(|| Self {
            memory,
            until: Instant::now() + WHOLE,
            rounds: 0,
            pages: 0,
            most,
        })
    }

    /// `None` for a request that no helper makes which does its work.
    pub(super) fn read(&mut self, pages: &[u64]) -> Option<Vec<Option<Vec<u8>>>> {
        let sensible = |page: &u64| page.is_multiple_of(PAGE) && *page < END;
        if pages.len() > MAX_AT_ONCE || !pages.iter().all(sensible) {
            return None;
        }
        self.rounds += 1;
        self.pages += pages.len();
        if self.rounds > MAX_ROUNDS || self.pages > self.most {
            return None;
        }
        let late = Instant::now() >= self.until;
        let read = |page: &u64| {
            let mut bytes = vec![0; PAGE as usize];
            let read = !late && self.memory.read_exact_at(&mut bytes, *page).is_ok();
            read.then_some(bytes)
        };
        Some(pages.iter().map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::runtimes::memory::MAX_PAGES;

    fn own() -> Remote {
        let pid = std::process::id();
        Remote::open(pid, maps::started(pid).unwrap(), MAX_PAGES).unwrap()
    }

    #[test]
    fn whole_pages_are_read_and_what_is_not_there_is_said() {
        let here = vec![7_u8; 3 * PAGE as usize];
        let page = (here.as_ptr().addr() as u64 + PAGE - 1) & !(PAGE - 1);
        let pages = own().read(&[page, 0]).unwrap();
        assert_eq!(pages, [Some(vec![7; PAGE as usize]), None]);
    }

    #[test]
    fn requests_out_of_bounds_are_refused() {
        assert_eq!(own().read(&[8]), None);
        assert_eq!(own().read(&[END]), None);
        assert_eq!(own().read(&[0; MAX_AT_ONCE + 1]), None);
        let mut remote = own();
        let enough = MAX_PAGES / MAX_AT_ONCE;
        assert!((0..enough).all(|_| remote.read(&[0; MAX_AT_ONCE]).is_some()));
        assert_eq!(remote.read(&[0]), None);
        let mut remote = own();
        remote.until = Instant::now();
        assert_eq!(remote.read(&[0]), Some(vec![None]));
    }

    #[test]
    fn another_process_under_the_number_is_not_read() {
        let started = maps::started(1).unwrap();
        assert!(Remote::open(std::process::id(), started, MAX_PAGES).is_none());
    }
}
