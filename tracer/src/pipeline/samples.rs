//! Which running threads are sampled, and when: those of processes with stuck sockets that ran when they were looked
//! at, in rounds of some seconds with pauses between. What comes of a round is news for a report.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use tracer_common::event::Sampled as Noted;

use super::session::Session;
use crate::{
    model::{
        input::{Input, Process, ProcessKey, Thread, Warning},
        samples::Samples,
    },
    options::Mode,
    probe::{
        pidns::proc_is_own,
        samples::{MAX_THREADS, Round, Sampling, ThreadId},
    },
    source::samples::{self, Functions, Thread as Sampled},
};

/// A thread that has half of a CPU takes one second, one that has a twentieth ten.
const ROUND: Duration = Duration::from_secs(10);
/// So long a report waits for what a round will tell.
const HELD_BACK: Duration = Duration::from_secs(4);
/// At the end of a run, and in a run that looks once.
const AT_ONCE: Duration = Duration::from_millis(900);
/// So long a thread is not sampled again.
const REST: Duration = Duration::from_secs(25);
/// For naming what came of a round while it goes on, each time; and when it is over.
const NAMED_AT_ONCE: Duration = Duration::from_millis(60);
const NAMED_AT_LAST: Duration = Duration::from_secs(2);
/// How often a round that is waited for is asked whether it is over.
const PEEK: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct Samplings {
    /// Threads that ran at the last look, those first that were asked for.
    running: Vec<Sampled>,
    /// The round that goes on, with the threads it is of.
    round: Option<(Sampling, Vec<Sampled>)>,
    /// What they execute of a language runtime.
    functions: Functions,
    /// When each thread was in a round last.
    sampled: BTreeMap<u32, Instant>,
    unable: bool,
}

impl Samplings {
    /// Those whose turn it is.
    fn due(&mut self, now: Instant) -> Vec<Sampled> {
        self.sampled
            .retain(|_, at| now.saturating_duration_since(*at) < REST);
        let rested = |one: &&Sampled| !self.sampled.contains_key(&one.tid);
        let due = self.running.iter().filter(rested);
        due.copied().take(MAX_THREADS).collect()
    }

    /// A round that began not long ago has something to tell soon.
    pub(super) fn holds_back(&self) -> bool {
        let round = self.round.as_ref();
        round.is_some_and(|(round, _)| !round.is_over() && round.began.elapsed() < HELD_BACK)
    }

    /// A round has ended that no report knows of.
    pub(super) fn has_news(&self) -> bool {
        self.round
            .as_ref()
            .is_some_and(|(round, _)| round.is_over())
    }
}

/// Threads of a look that are worth sampling: what a goroutine executes, its thread does not tell.
fn running(process: &Process, threads: &[Thread]) -> Vec<Sampled> {
    let threads = threads.iter();
    let runs = threads.filter(|thread| {
        let alone = thread.goroutine.is_none() && thread.task.is_none();
        thread.state == 'R' && thread.tid != 0 && alone
    });
    let of = |thread: &Thread| Sampled {
        pid: process.pid,
        start_boot: process.start_boot,
        tid: thread.tid,
        began: thread.began,
    };
    runs.map(of).collect()
}

impl Session<'_> {
    /// Which of the threads of these processes run; those that are asked for come first.
    pub(super) fn note_running(
        &mut self,
        processes: &[Process],
        threads: &[Vec<Thread>],
        asked: impl Fn(u32) -> bool,
    ) {
        let looks = processes.iter().zip(threads);
        let mut all: Vec<Sampled> = looks.flat_map(|(of, all)| running(of, all)).collect();
        all.sort_by_key(|one| !asked(one.tid));
        self.samplings.running = all;
    }

    /// Begins a round, if it is time for one and there is somebody to sample. Whether one goes on.
    pub(super) fn begin_sampling(&mut self) -> anyhow::Result<bool> {
        self.sample_for(ROUND)
    }

    fn sample_for(&mut self, longest: Duration) -> anyhow::Result<bool> {
        // A tree that `run` follows is looked at four times a second, and nothing may delay that.
        let is_run = matches!(self.options.mode, Mode::Run(_));
        if self.samplings.round.is_some() {
            return Ok(true);
        }
        if is_run || self.samplings.unable || !proc_is_own() {
            return Ok(false);
        }
        let now = Instant::now();
        let due = self.samplings.due(now);
        if due.is_empty() {
            return Ok(false);
        }
        let ids = due.iter().map(|one| ThreadId {
            pid: one.pid,
            tid: one.tid,
        });
        self.search_runtimes(&due)?;
        let program = self.live.sampler.as_ref();
        match Sampling::start(ids.collect(), longest, program) {
            Ok(round) => {
                let tids = due.iter().map(|one| (one.tid, now));
                self.samplings.sampled.extend(tids);
                self.samplings.round = Some((round, due));
                Ok(true)
            }
            Err(error) => {
                self.samplings.unable = true;
                self.warn([unable(&error)])?;
                Ok(false)
            }
        }
    }

    /// The kernel program is to know the runtimes of those that will be sampled.
    fn search_runtimes(&mut self, due: &[Sampled]) -> anyhow::Result<()> {
        let mut processes: Vec<ProcessKey> = due
            .iter()
            .map(|one| ProcessKey {
                pid: one.pid,
                start_boot: one.start_boot,
            })
            .collect();
        processes.dedup();
        let runtimes = &mut self.live.runtimes;
        let search = &mut self.teacher.search;
        search.of_processes(&processes, runtimes, &mut self.symbolizer)?;
        self.samplings.functions = Functions::of(due, runtimes);
        Ok(())
    }

    /// What came of the round that goes on.
    pub(super) fn name_samples(&mut self, noted: &[Box<Noted>]) {
        let Samplings {
            round, functions, ..
        } = &mut self.samplings;
        let Some((round, _)) = round else {
            return;
        };
        for one in noted {
            functions.note(one);
        }
        for (id, sample) in round.arrived() {
            functions.came(id.pid, id.tid, sample);
        }
        functions.name(NAMED_AT_ONCE, &mut self.symbolizer);
    }

    /// Tells what a round that is over has met.
    pub(super) fn take_samples(&mut self) -> anyhow::Result<()> {
        if !self.samplings.has_news() {
            return Ok(());
        }
        // With what was noted of the last ones.
        self.drain()?;
        let Some((round, of)) = self.samplings.round.take() else {
            return Ok(());
        };
        let Round { samples, refused } = round.end();
        if let Some(error) = refused {
            self.samplings.unable = true;
            self.warn([unable(&error)])?;
        }
        let whose = |id: ThreadId| of.iter().find(|one| one.tid == id.tid).copied();
        let samples = samples.into_iter();
        let samples: Vec<_> = samples
            .filter_map(|(id, samples)| Some((whose(id)?, samples)))
            .collect();
        let mut by_process: BTreeMap<u32, Vec<Samples>> = BTreeMap::new();
        for (thread, samples) in &samples {
            tracing::debug!(tid = thread.tid, samples = samples.len(), "sampled");
        }
        let mut functions = std::mem::take(&mut self.samplings.functions);
        functions.name(NAMED_AT_LAST, &mut self.symbolizer);
        for (thread, told) in samples::named(&samples, &mut functions, &mut self.symbolizer) {
            by_process.entry(thread.pid).or_default().push(told);
        }
        for (pid, threads) in by_process {
            self.feed(Input::Samples { pid, threads })?;
        }
        Ok(())
    }

    /// At the end, when nothing else can be waited for: samples threads that run and were not sampled lately, for a
    /// second at most. Whether there is something to tell, which an inspection does.
    pub(super) fn sample_at_once(&mut self) -> anyhow::Result<bool> {
        if !self.sample_for(AT_ONCE)? {
            return Ok(false);
        }
        let began = Instant::now();
        while let Some((round, _)) = &self.samplings.round
            && !round.is_over()
        {
            if began.elapsed() > AT_ONCE {
                round.stop();
            }
            thread::sleep(PEEK);
            self.drain()?;
        }
        Ok(true)
    }
}

fn unable(error: &std::io::Error) -> Warning {
    let text = format!(
        "threads that run cannot be sampled ({error}): what busy threads compute is not known, only that they ran; \
         CAP_PERFMON allows it, and on Debian and Ubuntu kernel.perf_event_paranoid below 3"
    );
    Warning::new("threads-unsampled", &"", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples::Moments;

    fn thread(tid: u32) -> Sampled {
        Sampled {
            pid: 7,
            start_boot: 1,
            tid,
            began: 2,
        }
    }

    #[test]
    fn so_many_at_once_and_none_again_before_it_has_rested() {
        let now = Instant::now();
        let mut all = Samplings {
            running: (1..=20).map(thread).collect(),
            ..Samplings::default()
        };
        let first = all.due(now);
        assert_eq!(first.len(), MAX_THREADS);
        all.sampled.extend(first.iter().map(|one| (one.tid, now)));
        let next = all.due(now + Duration::from_secs(5));
        assert!(next.iter().all(|one| !first.contains(one)));
        all.running.truncate(3);
        assert!(all.due(now + Duration::from_secs(24)).is_empty());
        assert_eq!(all.due(now + REST), [thread(1), thread(2), thread(3)]);
    }

    /// What there may be of samples in memory at once, and how many are taken on the whole machine.
    #[test]
    fn a_round_costs_little() {
        // A ring may hold some more when it is emptied for the last time.
        let samples = MAX_THREADS * (Moments::ENOUGH as usize + 8);
        assert!(samples * (16 << 10) < 8 << 20, "{samples}");
        assert!(samples as u64 / REST.as_secs() < 20);
    }
}
