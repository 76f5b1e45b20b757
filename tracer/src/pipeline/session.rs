//! One run on a live kernel: feeds what the sources give to the tracker (and the recording), and
//! fetches what the rules need before they can answer.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use tracer_common::{
    decode::Record,
    event::PROCESS_EXEC,
    state::{CLOSE, CLOSE_WAIT, LISTEN},
};

use super::{
    blaming,
    output::Conclusion,
    scope,
    start::{grace, hook, start, table_size, without_threads},
    unmatched::Unmatched,
};
use crate::{
    diagnose::{self, Style},
    exit::file_error,
    model::{
        input::{Input, Item, Opening, Process},
        report::{Host as ReportHost, Report, Tool},
    },
    options::{Mode, Options},
    probe::{
        attach::Wanted,
        host::{Host, mono_now_ns},
        live::Live,
        object::Settings,
        privilege,
    },
    source::{epoll, process, recording::Recorder, stacks::Stacks, threads, wire},
    symbolize::{Symbolizer, Warning},
    track::Tracker,
};

/// States of sockets that can be stuck, and of those they came in through.
const ITER_STATES: u32 = 1 << CLOSE_WAIT | 1 << CLOSE | 1 << LISTEN;
/// Processes whose threads are looked at for one report.
const MAX_THREADED: usize = 8;

pub struct Session<'o> {
    pub live: Live,
    pub tracker: Tracker,
    options: &'o Options,
    symbolizer: Symbolizer,
    stacks: Stacks,
    recorder: Option<Recorder>,
    grace_ns: u64,
    told: BTreeSet<String>,
    unmatched: Unmatched,
    counts_closes: bool,
}

impl<'o> Session<'o> {
    pub fn start(options: &'o Options, host: &Host, wanted: &Wanted) -> anyhow::Result<Self> {
        let live_mode = options.mode == Mode::Watch;
        let grace_ns = grace(options.min_age);
        let pids = process::with_descendants(&options.filter.pids);
        let settings = Settings {
            grace_ns,
            ports: options.filter.kernel_ports(),
            by_pid: !pids.is_empty(),
            // Whether a port is used at all shows in any state.
            iter_states: if options.filter.ports.is_empty() {
                ITER_STATES
            } else {
                u32::MAX
            },
            ways: if live_mode {
                table_size()
            } else {
                tracer_common::table::MIN_WAYS
            },
            event_ring_bytes: if live_mode { 4 << 20 } else { 4096 },
            log_level: if options.verbosity > 1 { 5 } else { 0 },
            ..Settings::default()
        };
        let mut warnings = options.warnings();
        warnings.extend(privilege::optional_losses(host));
        let scope = scope::of(options)?;
        // Opened with the user's own rights, before they are given up.
        let recorder = match &options.record {
            Some(path) => Some(
                Recorder::create(path)
                    .map_err(|error| file_error("write the recording to", path, error))?,
            ),
            None => None,
        };
        let live = start(&settings, wanted, &pids, &options.mode)?;
        if live_mode && !live.user_stacks {
            warnings.push(
                "this kernel cannot copy user stacks (bpf_task_pt_regs came in 5.15): no function \
                 can be named"
                    .to_owned(),
            );
        }
        warnings.extend(live.without_threads.as_deref().map(without_threads));
        let opening = Opening {
            tool: Tool {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                bpf_object_sha256: Some(live.sha256.clone()),
            },
            host: ReportHost {
                kernel: host.kernel.clone(),
                boot_id: host.boot_id.clone(),
            },
            hooks: live.statuses.iter().map(hook).collect(),
            warnings,
            at: mono_now_ns(),
            wall: Timestamp::now(),
            scope,
            live: live_mode,
            some_processes_unseen: host.in_pid_namespace,
            min_age_ns: ns(options.min_age),
            grace_ns,
        };
        let mut session = Self {
            live,
            tracker: Tracker::default(),
            options,
            symbolizer: Symbolizer::new(),
            stacks: Stacks::default(),
            recorder,
            grace_ns,
            told: BTreeSet::new(),
            unmatched: Unmatched::new(&options.filter),
            counts_closes: false,
        };
        session.feed(Input::Opening(Box::new(opening)))?;
        Ok(session)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_nanos(self.grace_ns)
    }

    pub fn feed(&mut self, input: Input) -> anyhow::Result<()> {
        if let (Some(recorder), Some(path)) = (&mut self.recorder, &self.options.record) {
            recorder
                .write(&input)
                .map_err(|error| file_error("write the recording to", path, error))?;
        }
        self.tracker.apply(input);
        Ok(())
    }

    /// Takes in what the rings hold.
    pub fn drain(&mut self) -> anyhow::Result<()> {
        let mut inputs = Vec::new();
        let mut warnings = Vec::new();
        let Self {
            live,
            symbolizer,
            stacks,
            ..
        } = self;
        // Stacks first: their processes may be about to exit.
        live.drain_stacks(|record| {
            if let Record::Stack(copy) = record {
                symbolizer.warm(copy.tgid);
                if let Some(stack) = stacks.add(&copy, symbolizer, &mut warnings) {
                    inputs.push(Input::Stack {
                        key: copy.key,
                        stack,
                    });
                }
            }
        });
        live.drain_events(|record| {
            if let Record::Process(event) = &record
                && event.what == PROCESS_EXEC
            {
                symbolizer.forget(event.tgid);
            }
            inputs.extend(wire::inputs(&record));
        });
        live.flush_log();
        for input in inputs {
            self.feed(input)?;
        }
        self.warn(warnings)
    }

    /// Asks the kernel's table for sockets that have become stuck.
    pub fn sweep(&mut self) -> anyhow::Result<()> {
        let tracker = &self.tracker;
        let promoted = self
            .live
            .table
            .sweep(mono_now_ns(), self.grace_ns, |cookie| tracker.knows(cookie))
            .context("read the kernel's socket table")?;
        for socket in promoted {
            self.feed(Input::Promoted(socket))?;
        }
        if !self.counts_closes && self.tracker.count() > 0 {
            self.counts_closes = true;
            self.live
                .start_counting_closes()
                .context("count how sockets are closed")?;
        }
        self.unmatched.look_for_process();
        self.feed(Input::Tick { at: mono_now_ns() })
    }

    /// Compares with what exists, and fetches everything the rules ask for.
    pub fn inspect(&mut self) -> anyhow::Result<()> {
        self.reconcile()?;
        self.inquire()
    }

    /// Makes the tracker agree with what exists.
    pub fn reconcile(&mut self) -> anyhow::Result<()> {
        // Counters first: a loss after this moment is not repaired by this inventory. What was
        // submitted must have been received for them to balance.
        self.drain()?;
        let mut counters = self.live.counters().context("read the counters")?;
        let evicted = self.symbolizer.evicted();
        counters.evicted = self.stacks.evicted + evicted.processes + evicted.images + evicted.names;
        self.feed(Input::Counters(counters))?;
        let (mut inventory, problems) = self
            .live
            .inventory(mono_now_ns)
            .context("list the sockets that exist")?;
        self.unmatched.look_for_process();
        if self.unmatched.looks_for_ports() {
            self.unmatched
                .look_for_ports(counters.matched, &inventory.items);
            let wanted = |item: &Item| ITER_STATES & (1 << item.state) != 0;
            inventory.items.retain(wanted);
        }
        self.feed(Input::Inventory(inventory))?;
        if self.counts_closes {
            let closes = self.live.closes().context("read how sockets are closed")?;
            self.feed(Input::Closes(closes))?;
        }
        for problem in problems {
            self.feed(Input::Warning(problem))?;
        }
        if !self.options.filter.pids.is_empty() {
            let followed = self.live.followed();
            self.feed(Input::Followed(followed))?;
        }
        self.refresh_histories()
    }

    fn refresh_histories(&mut self) -> anyhow::Result<()> {
        let mut news = Vec::new();
        for socket in self.tracker.sockets() {
            let history = self
                .live
                .table
                .history(socket.cookie)
                .context("read the kernel's socket table")?;
            if let Some(history) = history.filter(|history| *history != socket.history) {
                news.push(Input::History {
                    cookie: socket.cookie,
                    history,
                });
            }
        }
        for input in news {
            self.feed(input)?;
        }
        Ok(())
    }

    /// Fetches what the rules ask for.
    pub fn inquire(&mut self) -> anyhow::Result<()> {
        let policy = blaming::policy(self.options);
        let filter = &self.options.filter;
        if filter.comm.is_some() || filter.cgroup.is_some() {
            // Whom a filter means shows only when the processes are known.
            let all = diagnose::demands(&self.tracker, &|frames| policy.blamed(frames)).processes;
            let unknown = |pid: &u32| self.tracker.process(*pid).is_none();
            for pid in all.into_iter().filter(unknown).collect::<Vec<_>>() {
                if let Some(process) = process::read(pid, self.options.show_cmdline) {
                    self.feed(Input::Process(process))?;
                }
            }
        }
        let demands = diagnose::demands(&self.tracker, &|frames| policy.blamed(frames));
        let mut warnings = Vec::new();
        let wanted = demands.stacks.into_iter().chain(self.stacks.failed());
        for key in wanted.collect::<BTreeSet<_>>() {
            let named = self.stacks.name(key, &mut self.symbolizer, &mut warnings);
            if let Some(stack) = named {
                self.feed(Input::Stack { key, stack })?;
            }
        }
        let processes: Vec<Process> = demands
            .processes
            .into_iter()
            .filter_map(|pid| process::read(pid, self.options.show_cmdline))
            .collect();
        self.read_threads(
            processes.get(..MAX_THREADED).unwrap_or(&processes),
            &demands.threads,
        )?;
        for process in processes {
            self.feed(Input::Process(process))?;
        }
        for pid in demands.epolls {
            if let Some(interests) = epoll::read(pid) {
                self.feed(Input::Epoll { pid, interests })?;
            }
        }
        self.warn(warnings)?;
        self.feed(Input::Tick { at: mono_now_ns() })
    }

    fn read_threads(&mut self, processes: &[Process], asked: &BTreeSet<u32>) -> anyhow::Result<()> {
        let mut problem = None;
        let mut look = |pids: &[u32]| match self.live.threads(pids)? {
            Ok(seen) => Some(seen),
            Err(error) => {
                problem = Some(error.to_string());
                None
            }
        };
        let threads = threads::read(processes, asked, &mut look, &mut self.symbolizer);
        if let Some(reason) = problem {
            self.tell(without_threads(&reason))?;
        }
        for (process, threads) in processes.iter().zip(threads) {
            let pid = process.pid;
            self.feed(Input::Threads { pid, threads })?;
        }
        Ok(())
    }

    fn warn(&mut self, warnings: Vec<Warning>) -> anyhow::Result<()> {
        for warning in warnings {
            self.tell(warning.to_string())?;
        }
        Ok(())
    }

    /// Once.
    fn tell(&mut self, text: String) -> anyhow::Result<()> {
        if self.told.insert(text.clone()) {
            self.feed(Input::Warning(text))?;
        }
        Ok(())
    }

    pub fn report(&self) -> Option<Report> {
        report(&self.tracker, self.options)
    }

    /// Ends the run with its last report, and the error when a filter has matched nothing.
    pub fn conclude(mut self) -> anyhow::Result<Conclusion> {
        let unmatched = self.unmatched.explain();
        if let Some(nothing) = &unmatched {
            self.feed(Input::Warning(nothing.sentence()))?;
        }
        let report = self.report().context("the run gave no report")?;
        let scope = self
            .tracker
            .opening()
            .map(|opening| opening.scope.clone())
            .unwrap_or_default();
        self.finish()?;
        Ok(Conclusion {
            report,
            scope,
            unmatched,
        })
    }

    /// Ends the recording; the report is worth nothing if the recording it came with is broken.
    fn finish(mut self) -> anyhow::Result<()> {
        if let (Some(recorder), Some(path)) = (self.recorder.take(), &self.options.record) {
            recorder
                .finish()
                .map_err(|error| file_error("write the recording to", path, error))?;
        }
        Ok(())
    }
}

pub fn report(tracker: &Tracker, options: &Options) -> Option<Report> {
    let style = Style {
        sockets_per_site: options.sockets_per_site,
    };
    let policy = blaming::policy(options);
    diagnose::report(tracker, style, &|frames| policy.blamed(frames))
}

pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
