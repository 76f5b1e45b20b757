//! When it is watched what processes do with their sockets (`--evidence leaking`), and whose: from the moment something
//! of theirs is stuck until an hour after the last time. What the kernel is told, and the middle.

use std::{collections::BTreeSet, fmt, time::Duration};

use anyhow::Context as _;

use super::{
    session::{Session, ns},
    trouble::Trouble,
};
use crate::{
    diagnose,
    model::input::{Evidence, Input, ProcessKey, Warning},
    options,
    probe::host::mono_now_ns,
};

/// So long nothing must have been stuck.
const QUIET: Duration = Duration::from_hours(1);

/// What is watched now; `None` in a session where it always is.
pub(super) struct Watched {
    evidence: Evidence,
    /// The last moment at which something was stuck.
    stuck_at: u64,
}

/// What has to be done.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// These processes are not watched yet.
    Watch(Vec<u32>),
    Rest,
}

impl Watched {
    pub(super) fn asked(options: &options::Options) -> Option<Self> {
        (options.evidence == options::Evidence::Leaking).then(|| Self {
            evidence: Evidence::default(),
            stuck_at: 0,
        })
    }

    /// `concerned` are the processes that hold what is stuck, if anything is.
    fn step(&mut self, concerned: Option<&BTreeSet<u32>>, now: u64) -> Step {
        if concerned.is_some() {
            self.stuck_at = now;
        }
        if self.evidence.attached.is_some() && now.saturating_sub(self.stuck_at) > ns(QUIET) {
            return Step::Rest;
        }
        let fresh = concerned.into_iter().flatten().copied();
        let fresh: Vec<u32> = fresh
            .filter(|pid| !self.evidence.processes.contains_key(pid))
            .collect();
        if fresh.is_empty() {
            Step::Nothing
        } else {
            Step::Watch(fresh)
        }
    }

    /// Whom the kernel follows: children of those that were named are since their first moment, and who has
    /// ended is not any more.
    fn follow(&mut self, followed: &[u32]) {
        let Some(attached) = self.evidence.attached else {
            return;
        };
        let known = std::mem::take(&mut self.evidence.processes);
        let since = |pid: &u32| known.get(pid).copied().unwrap_or(attached);
        self.evidence.processes = followed.iter().map(|pid| (*pid, since(pid))).collect();
    }

    /// A process was watched for long enough by now, of whose sockets that could not be said before.
    pub(super) fn is_due(&self, last: u64, now: u64, min_age: u64) -> bool {
        let mut known = self.evidence.processes.values();
        known.any(|from| (last..now).contains(&from.saturating_add(min_age)))
    }
}

impl Session<'_> {
    /// After an inspection: who holds what is stuck is known.
    pub(super) fn adjust_evidence(&mut self) -> Result<(), Trouble> {
        let Some(mut watched) = self.watched.take() else {
            return Ok(());
        };
        let before = watched.evidence.clone();
        let outcome = self.adjust(&mut watched);
        let news = (watched.evidence != before).then(|| watched.evidence.clone());
        self.watched = Some(watched);
        outcome?;
        if let Some(evidence) = news {
            self.feed(Input::Evidence(evidence))?;
        }
        Ok(())
    }

    fn adjust(&mut self, watched: &mut Watched) -> Result<(), Trouble> {
        let now = mono_now_ns();
        let concerned = diagnose::concerned(&self.tracker);
        match watched.step(concerned.as_ref(), now) {
            Step::Nothing => {}
            Step::Rest => {
                self.forget_whom_to_follow();
                self.live.detach_on_demand();
                watched.evidence = Evidence::default();
                return Ok(());
            }
            Step::Watch(pids) => {
                watched.evidence.unable = false;
                if watched.evidence.attached.is_none() {
                    // A child that was born while its parent was forgotten.
                    self.forget_whom_to_follow();
                    if let Err(error) = self.live.attach_on_demand() {
                        watched.evidence.unable = true;
                        return Ok(self.warn([unable(&error)])?);
                    }
                    watched.evidence.attached = Some(mono_now_ns());
                }
                for pid in pids {
                    self.watch(pid, &mut watched.evidence)?;
                }
            }
        }
        if watched.evidence.attached.is_some() {
            watched.follow(&self.live.followed());
        }
        Ok(())
    }

    /// But for those that the user named, who also say what the run is about.
    fn forget_whom_to_follow(&mut self) {
        if self.options.filter.pids.is_empty() {
            self.live.follow_nobody();
        }
    }

    fn watch(&mut self, pid: u32, evidence: &mut Evidence) -> Result<(), Trouble> {
        // Its functions are told apart from its first call on.
        let process = ProcessKey { pid, start_boot: 0 };
        let learnt = self.teacher.search.of_processes(
            &[process],
            &mut self.live.runtimes,
            &mut self.symbolizer,
        );
        learnt.context("look for a language runtime")?;
        match self.live.follow(pid) {
            Ok(()) => {
                evidence.processes.insert(pid, mono_now_ns());
                Ok(())
            }
            Err(error) => {
                evidence.unable = true;
                Ok(self.warn([unable(&error)])?)
            }
        }
    }
}

/// A leak is told all the same, and with less to say of it.
fn unable(error: &dyn fmt::Display) -> Warning {
    let text = format!(
        "reads, writes and accepts cannot be watched ({error}): how sockets are used is not known, and one that is half \
         closed and still in use counts as stuck; --evidence always needs nothing to be attached later"
    );
    Warning::new("evidence-unavailable", &"", text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn nothing_watched() -> Watched {
        Watched {
            evidence: Evidence::default(),
            stuck_at: 0,
        }
    }

    fn watched_since(from: u64) -> Watched {
        let mut watched = nothing_watched();
        watched.evidence.attached = Some(from);
        watched.evidence.processes.insert(7, from);
        watched.stuck_at = from;
        watched
    }

    #[test]
    fn processes_are_watched_from_the_moment_something_of_theirs_is_stuck() {
        let mut watched = nothing_watched();
        assert_eq!(watched.step(None, HOUR), Step::Nothing);
        let both = BTreeSet::from([7, 8]);
        assert_eq!(watched.step(Some(&both), HOUR), Step::Watch(vec![7, 8]));
        let mut watched = watched_since(HOUR);
        assert_eq!(watched.step(Some(&both), HOUR + 1), Step::Watch(vec![8]));
    }

    #[test]
    fn an_hour_after_the_last_stuck_socket_nobody_is_watched() {
        let mut watched = watched_since(HOUR);
        assert_eq!(watched.step(None, 2 * HOUR), Step::Nothing);
        assert_eq!(watched.step(None, 2 * HOUR + 1), Step::Rest);
        let mut watched = watched_since(HOUR);
        watched.step(Some(&BTreeSet::new()), 2 * HOUR);
        assert_eq!(watched.step(None, 2 * HOUR + 1), Step::Nothing);
    }

    #[test]
    fn children_are_watched_and_the_dead_are_not() {
        let mut watched = watched_since(5);
        watched.evidence.processes.insert(8, 9);
        watched.follow(&[8, 21]);
        assert_eq!(
            watched.evidence.processes,
            BTreeMap::from([(8, 9), (21, 5)])
        );
    }

    #[test]
    fn a_report_is_due_once_a_process_was_watched_for_long_enough() {
        let watched = watched_since(100);
        assert!(!watched.is_due(0, 150, 50));
        assert!(watched.is_due(0, 151, 50));
        assert!(!watched.is_due(151, 999, 50));
    }
}
