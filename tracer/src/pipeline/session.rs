//! One run on a live kernel: feeds what the sources give to the tracker (and the recording), and
//! fetches what the rules need before they can answer.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use super::{
    blaming, closes,
    endangered::OpenLooks,
    evidence::Watched,
    executed,
    loops::Loops,
    output::Conclusion,
    program_end::Endings,
    samples::Samplings,
    scope,
    start::{self, ITER_STATES, Started, WITHOUT_STACKS, grace, hook, observes, without_threads},
    trouble::Trouble,
    unmatched::Unmatched,
};
use crate::{
    diagnose::{Findings, Ledger, Style},
    exit::file_error,
    model::{
        input::{Evidence, Input, Item, RunHeader, Warning},
        report::{Host as ReportHost, Tool},
    },
    options::Options,
    probe::{
        attach::Wanted,
        host::{Host, mono_now_ns},
        live::Live,
        mappings::Mappings,
        pidns::proc_is_own,
        privilege,
        rings::Collector,
    },
    source::{jvm::Jvms, recording::Recorder, rows::Teacher, stacks::Stacks},
    symbolize::Symbolizer,
    track::Tracker,
};

/// Where the kernel tells what processes map, nobody has to hurry to see it.
const GATHER: Duration = Duration::from_millis(2);

pub struct Session<'o> {
    pub live: Live,
    pub tracker: Tracker,
    ledger: Ledger,
    pub(super) options: &'o Options,
    pub(super) symbolizer: Symbolizer,
    /// Where a tree is followed from its beginning, and the kernel can tell.
    pub(super) mappings: Option<Mappings>,
    pub(super) stacks: Stacks,
    pub(super) teacher: Teacher,
    /// `None` when the user does not want them to be asked.
    pub(super) jvms: Option<Jvms>,
    recorder: Option<Recorder>,
    grace_ns: u64,
    unmatched: Unmatched,
    not_blamed: blaming::Unmatched,
    counts_closes: bool,
    pub(super) looked_for_runtimes: bool,
    pub(super) watched: Option<Watched>,
    pub(super) loops: Loops,
    pub(super) samplings: Samplings,
    pub(super) open_looks: OpenLooks,
    pub(super) endings: Endings,
    /// Where events are followed.
    collector: Option<Collector>,
}

impl<'o> Session<'o> {
    pub fn start(options: &'o Options, host: &Host, wanted: &Wanted) -> anyhow::Result<Self> {
        let live_mode = options.mode.follows_events();
        let grace_ns = grace(options.min_age);
        let pids = scope::pids(options);
        let settings = start::settings(options, host, &pids);
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
        let Started { live, mappings } = start::start(&settings, wanted, &pids, &options.mode)?;
        let mut symbolizer = Symbolizer::new().reading(options.runtimes);
        let mappings = executed::mappings(mappings, &pids, &mut symbolizer, &mut warnings);
        if live_mode && !live.user_stacks {
            warnings.push(WITHOUT_STACKS.to_owned());
        }
        warnings.extend(live.without_threads.as_deref().map(without_threads));
        let run_header = RunHeader {
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
            exit_age_ns: scope::exit_age(options),
            observes: observes(&live.statuses),
        };
        let mut session = Self {
            live,
            tracker: Tracker::default(),
            ledger: Ledger::default(),
            options,
            symbolizer,
            mappings,
            stacks: Stacks::default(),
            teacher: Teacher::default(),
            jvms: options.jvm_attach.then(|| Jvms::new(!proc_is_own())),
            recorder,
            grace_ns,
            unmatched: Unmatched::new(&options.filter),
            not_blamed: blaming::Unmatched::of(options),
            counts_closes: false,
            looked_for_runtimes: false,
            watched: Watched::asked(options),
            loops: Loops::default(),
            samplings: Samplings::default(),
            open_looks: OpenLooks::default(),
            endings: Endings::default(),
            collector: None,
        };
        session.feed(Input::RunHeader(Box::new(run_header)))?;
        if session.watched.is_some() {
            session.feed(Input::Evidence(Evidence::default()))?;
        }
        if live_mode {
            // Not before privileges were given up: threads keep theirs.
            let told = session.mappings.is_some();
            let collector = session
                .live
                .rings
                .collect(if told { GATHER } else { Duration::ZERO });
            session.collector = Some(collector.context("start the thread that empties the rings")?);
        }
        Ok(session)
    }

    /// Waits until stacks have been copied: named soon, those of short-lived processes can be named.
    pub async fn copies(&self) {
        match &self.collector {
            Some(collector) => collector.copies().await,
            None => std::future::pending().await,
        }
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

    /// Looks at processes whose stacks have been copied meanwhile, and takes in nothing: for use while an
    /// inspection goes on, which speaks of the moment it began.
    pub(super) fn look_at_newcomers(&mut self) {
        for pid in self.live.rings.newcomers() {
            self.symbolizer.warm(pid);
        }
    }

    /// Asks the kernel's table for sockets that have become stuck.
    pub fn sweep(&mut self) -> Result<(), Trouble> {
        self.sweep_older_than(self.grace_ns)
    }

    /// And for those that became so this moment.
    pub fn sweep_all(&mut self) -> Result<(), Trouble> {
        self.sweep_older_than(0)
    }

    fn sweep_older_than(&mut self, grace_ns: u64) -> Result<(), Trouble> {
        let tracker = &self.tracker;
        let candidate = self
            .live
            .table
            .sweep(mono_now_ns(), grace_ns, |cookie| tracker.knows(cookie))
            .map_err(|error| Trouble::of("read the kernel's socket table", error))?;
        for socket in candidate {
            let history = socket.history;
            for operation in [history.opened, history.used, history.eof]
                .into_iter()
                .flatten()
            {
                self.stacks.keep(operation.stack);
            }
            self.feed(Input::StuckCandidate(socket))?;
        }
        if !self.counts_closes && self.tracker.count() > 0 {
            self.live
                .start_counting_closes()
                .map_err(|error| Trouble::of("count how sockets are closed", error))?;
            self.counts_closes = true;
        }
        self.unmatched.look_for_process();
        self.feed(Input::Tick { at: mono_now_ns() })?;
        Ok(())
    }

    /// Events lost so far, whatever the stage.
    pub fn lost(&self) -> Result<u64, Trouble> {
        let counters = self.live.counters();
        let counters = counters.map_err(|error| Trouble::of("read the counters", error))?;
        Ok(counters.all_lost())
    }

    /// Compares with what exists, and fetches everything the rules ask for.
    pub fn inspect(&mut self) -> Result<(), Trouble> {
        self.reconcile()?;
        self.enrich()
    }

    /// Makes the tracker agree with what exists.
    pub fn reconcile(&mut self) -> Result<(), Trouble> {
        self.anchor()?;
        // Counters first: a loss after this moment is not repaired by this inventory. What was
        // submitted must have been received for them to balance.
        let counters = self.live.counters();
        let mut counters = counters.map_err(|error| Trouble::of("read the counters", error))?;
        counters.received = self.drain_to(counters.submitted)?;
        let evicted = self.symbolizer.evicted();
        counters.evicted = self.stacks.evicted + evicted.processes + evicted.images + evicted.names;
        self.feed(Input::Counters(counters))?;
        let (mut inventory, problems) = self
            .live
            .inventory(mono_now_ns)
            .map_err(|error| Trouble::of("list the sockets that exist", error))?;
        self.unmatched.look_for_process();
        if self.unmatched.looks_for_ports() {
            self.unmatched
                .look_for_ports(counters.matched, &inventory.items);
            let wanted = |item: &Item| ITER_STATES & (1 << item.state) != 0;
            inventory.items.retain(wanted);
        }
        self.look_for_runtimes(&inventory)?;
        self.feed(Input::Inventory(inventory))?;
        if self.counts_closes {
            match self.live.closes() {
                Ok(closes) => {
                    let over = closes::surplus(&closes, |key| self.stacks.pid_of(key));
                    self.live.forget_closes(&over);
                    self.feed(Input::CloseCount(closes))?;
                }
                Err(error) => {
                    let text = format!(
                        "how the other sockets are closed could not be read ({error}): what is said of it may be old"
                    );
                    self.warn([Warning::new("closes-unread", &"", text)])?;
                }
            }
        }
        self.warn(
            problems
                .iter()
                .map(|text| Warning::new("sockets-unlisted", &text, text)),
        )?;
        if !self.options.filter.pids.is_empty() {
            let followed = self.live.followed();
            self.feed(Input::Followed(followed))?;
        }
        self.refresh_histories()
    }

    fn refresh_histories(&mut self) -> Result<(), Trouble> {
        let mut news = Vec::new();
        for socket in self.tracker.sockets() {
            let history = self
                .live
                .table
                .history(socket.cookie)
                .map_err(|error| Trouble::of("read the kernel's socket table", error))?;
            if let Some(history) = history.filter(|history| *history != *socket.history) {
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

    pub(super) fn warn(
        &mut self,
        warnings: impl IntoIterator<Item = impl Into<Warning>>,
    ) -> anyhow::Result<()> {
        for warning in warnings {
            self.feed(Input::Warning(warning.into()))?;
        }
        Ok(())
    }

    /// The report of this moment; what it tells stays told.
    pub fn findings(&mut self) -> anyhow::Result<Option<Findings>> {
        self.feed(Input::Reported)?;
        self.not_blamed.look(&self.tracker);
        Ok(findings(&mut self.ledger, &self.tracker, self.options))
    }

    /// How many there are of everything that is remembered, for whom its memory is a question.
    pub fn remembered(&self) -> Vec<(&'static str, usize)> {
        let mut all = self.tracker.remembered().to_vec();
        all.extend(self.ledger.remembered());
        all.extend(self.stacks.remembered());
        all.extend(self.symbolizer.remembered());
        all
    }

    /// Ends the run.
    pub fn conclude(mut self) -> anyhow::Result<Conclusion> {
        self.last_report()
    }

    /// The last report, and the error when a filter has matched nothing; the recording is complete then.
    pub fn last_report(&mut self) -> anyhow::Result<Conclusion> {
        let unmatched = self.unmatched.explain();
        if let Some(nothing) = &unmatched {
            self.warn([Warning::new("filter-unmatched", &"", nothing.sentence())])?;
        }
        self.not_blamed.look(&self.tracker);
        self.warn(self.not_blamed.warnings())?;
        let findings = self.findings()?;
        let report = findings.context("the run gave no report")?.report;
        let scope = self
            .tracker
            .run_header()
            .map(|run_header| run_header.scope.clone())
            .unwrap_or_default();
        self.finish()?;
        Ok(Conclusion {
            report,
            scope,
            unmatched,
        })
    }

    /// Ends the recording; the report is worth nothing if the recording it came with is broken.
    fn finish(&mut self) -> anyhow::Result<()> {
        if let (Some(recorder), Some(path)) = (self.recorder.take(), &self.options.record) {
            recorder
                .finish()
                .map_err(|error| file_error("write the recording to", path, error))?;
        }
        Ok(())
    }
}

pub fn findings(ledger: &mut Ledger, tracker: &Tracker, options: &Options) -> Option<Findings> {
    let style = Style {
        sockets_per_site: options.sockets_per_site,
    };
    let policy = blaming::policy_for(options, tracker);
    let mut found = ledger.report(tracker, style, &|frames| policy.blamed(frames))?;
    blaming::say_whose(&mut found.report);
    Some(found)
}

pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
