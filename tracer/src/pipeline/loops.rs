//! When it is watched what event loops do with their sockets, and of which processes: in short windows, once something of
//! theirs is stuck, because on kernels that refuse trampolines the hook costs every system call of the machine.

use std::{collections::BTreeMap, time::Duration};

use super::{
    session::{Session, ns},
    trouble::Trouble,
};
use crate::{
    model::input::{Input, LoopsWatched, Warning},
    probe::{attach::HookError, host::mono_now_ns},
};

const WINDOW: Duration = Duration::from_secs(10);
/// So long there is no other window.
const PAUSE: Duration = Duration::from_secs(50);
/// So long until a process whose sockets are stuck still is watched again.
const REST: Duration = Duration::from_mins(5);

#[derive(Default)]
pub(super) struct Loops {
    /// When the hook was attached, while it is, and who is watched since when.
    open: Option<(u64, BTreeMap<u32, u64>)>,
    closed: Option<u64>,
    /// When each process was watched last for a whole window.
    watched: BTreeMap<u32, u64>,
    unable: bool,
    /// A window has ended that no report knows of.
    news: bool,
}

impl Loops {
    /// Who of these is to be watched from now on.
    fn fresh(&mut self, concerned: &[u32], now: u64) -> Vec<u32> {
        let is_within = |at: u64, span: Duration| now.saturating_sub(at) < ns(span);
        self.watched.retain(|_, at| is_within(*at, REST));
        let pausing = self.open.is_none() && self.closed.is_some_and(|at| is_within(at, PAUSE));
        if self.unable || pausing {
            return Vec::new();
        }
        let current = self.open.as_ref().map(|(_, current)| current);
        let is_known = |pid: &u32| {
            self.watched.contains_key(pid) || current.is_some_and(|of| of.contains_key(pid))
        };
        let fresh = concerned.iter().copied();
        fresh.filter(|pid| !is_known(pid)).collect()
    }

    fn is_over(&self, now: u64) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|(from, _)| now.saturating_sub(*from) >= ns(WINDOW))
    }

    fn close(&mut self, now: u64) {
        let Some((from, current)) = self.open.take() else {
            return;
        };
        let whole = current.into_iter().filter(|(_, since)| *since == from);
        self.watched.extend(whole);
        self.closed = Some(now);
        self.news = true;
    }

    pub(super) const fn has_news(&self) -> bool {
        self.news
    }
}

impl Session<'_> {
    /// `concerned` have event loops, and sockets that are stuck.
    pub(super) fn watch_loops(&mut self, concerned: &[u32]) -> Result<(), Trouble> {
        let now = mono_now_ns();
        self.tell_of_loops(now)?;
        self.loops.news = false;
        for pid in self.loops.fresh(concerned, now) {
            if self.loops.open.is_none() {
                if let Err(error) = self.live.attach_to_loops() {
                    self.loops.unable = true;
                    return Ok(self.warn([unable(&error)])?);
                }
                self.loops.open = Some((now, BTreeMap::new()));
            }
            // What finds no room is watched in a later window.
            if self.live.watch_loops_of(pid).is_ok()
                && let Some((_, current)) = &mut self.loops.open
            {
                current.insert(pid, now);
            }
        }
        Ok(())
    }

    /// Ends the window when it was long enough.
    pub(super) fn rest_from_loops(&mut self) -> anyhow::Result<()> {
        let now = mono_now_ns();
        if self.loops.is_over(now) {
            self.tell_of_loops(now)?;
            self.loops.close(now);
            self.live.detach_from_loops();
        }
        Ok(())
    }

    /// How long each process of this window was watched by now.
    fn tell_of_loops(&mut self, now: u64) -> anyhow::Result<()> {
        let current = self.loops.open.iter().flat_map(|(_, current)| current);
        let told: Vec<_> = current
            .map(|(pid, from)| LoopsWatched {
                pid: *pid,
                from: *from,
                to: now,
            })
            .collect();
        for watched in told {
            self.feed(Input::LoopsWatched(watched))?;
        }
        Ok(())
    }
}

fn unable(error: &HookError) -> Warning {
    let text = format!(
        "it cannot be watched what event loops do with their sockets ({error}): what a program takes out of its loop and \
         does not put back is not told apart from what it has forgotten"
    );
    Warning::new("loops-unavailable", &"", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn open(from: u64, current: &[(u32, u64)]) -> Loops {
        Loops {
            open: Some((from, current.iter().copied().collect())),
            ..Loops::default()
        }
    }

    #[test]
    fn a_process_is_watched_for_a_window_and_again_after_a_rest() {
        assert_eq!(Loops::default().fresh(&[7, 8], S), [7, 8]);
        let mut loops = open(S, &[(7, S), (8, 9 * S)]);
        assert_eq!(loops.fresh(&[7, 8, 9], 10 * S), [9]);
        assert!(!loops.is_over(10 * S) && loops.is_over(11 * S));
        loops.close(11 * S);
        assert!(loops.has_news());
        assert!(loops.fresh(&[7, 8, 9], 60 * S).is_empty(), "a pause");
        // Who came late was not watched for long enough.
        assert_eq!(loops.fresh(&[7, 8, 9], 61 * S), [8, 9]);
        assert_eq!(loops.fresh(&[7], 301 * S), [7]);
    }

    #[test]
    fn what_cannot_be_attached_is_not_tried_again() {
        let mut loops = Loops {
            unable: true,
            ..Loops::default()
        };
        assert!(loops.fresh(&[7], S).is_empty());
    }
}
