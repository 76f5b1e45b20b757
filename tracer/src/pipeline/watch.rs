//! `sockleak watch`: attach, find what is already stuck, follow, tell of each site once, report.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    blaming,
    output::{self, Outputs},
    session::Session,
    terminal::StatusLine,
};
use crate::{
    diagnose::Findings,
    model::{report::Report, stack::Frame, verdict::Verdict},
    options::Options,
    probe::{
        attach::Wanted,
        host::{Host, mono_now_ns},
    },
    sink::{
        human::{self, Progress},
        redact,
    },
};

/// The event ring holds 35,000 records; at 100,000 a second that is three of these.
const DRAIN: Duration = Duration::from_millis(100);
/// Without anything new, the iterators still check the table this often.
const RECONCILE: Duration = Duration::from_secs(30);
/// Inspections take at most one part in this many of the time,
const DUTY: u32 = 20;
/// unless that would keep a new site from the user for longer than this; but never more than a fifth.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST: u32 = 5;

pub async fn run(options: &Options, host: &Host) -> anyhow::Result<u8> {
    let began = Instant::now();
    let outputs = Outputs::open(options)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut session = Session::start(options, host, &Wanted::watch(options.accept_hook))?;
    let stacks = readiness(&session)?;
    let mut watch = Watch::new(options, &session);
    session.reconcile()?;
    if options.verbosity > 0 {
        let took = began.elapsed().as_millis();
        // Only a hint for the curious; a closed stderr must not end the run.
        let _ = writeln!(
            io::stderr(),
            "bootstrap: {} sockets in {took} ms",
            session.tracker.count()
        );
    }
    watch.enrich(&mut session, began)?;
    let deadline = sleep(options.duration.unwrap_or(Duration::MAX / 4));
    tokio::pin!(deadline);
    let mut tick = interval(DRAIN);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => watch.tick(&mut session)?,
            ready = stacks.readable() => {
                // Named soon after they were copied, stacks of short-lived processes can be named.
                ready.context("wait for stack copies")?.clear_ready();
                session.drain()?;
            }
            () = &mut deadline => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    watch.status.clear();
    session.drain()?;
    session.sweep()?;
    session.inspect()?;
    // A rule that needs a second look gets it, a second at most.
    let again = session
        .findings()
        .and_then(|findings| findings.ask_again_at);
    if let Some(at) = again {
        sleep(Duration::from_nanos(at.saturating_sub(mono_now_ns()))).await;
        session.inspect()?;
    }
    output::deliver(session.conclude()?, options, outputs)
}

/// Readiness of the ring of stack copies. tokio wants an owned descriptor; the ring keeps its own.
fn readiness(session: &Session<'_>) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let ring = rustix::io::fcntl_dupfd_cloexec(session.live.stacks.as_fd(), 0);
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may change their descriptor; OwnedFd does not"
    )]
    let ready = AsyncFd::new(ring.context("wait for stack copies")?);
    ready.context("wait for stack copies")
}

struct Watch<'o> {
    options: &'o Options,
    status: StatusLine,
    began: Instant,
    sweep_every: Duration,
    last_sweep: Instant,
    last_inspection: Instant,
    may_inspect: Instant,
    /// Sockets beyond the threshold at the last inspection.
    inspected: usize,
    lost: u64,
    /// When a rule may be able to prove what it could not (`CLOCK_MONOTONIC` ns).
    ask_again_at: Option<u64>,
    announced: BTreeSet<String>,
    totals: (u64, u64),
}

impl<'o> Watch<'o> {
    fn new(options: &'o Options, session: &Session<'_>) -> Self {
        let now = Instant::now();
        Self {
            options,
            status: StatusLine::new(),
            began: now,
            sweep_every: (session.grace() / 2).clamp(DRAIN, Duration::from_millis(500)),
            last_sweep: now,
            last_inspection: now,
            may_inspect: now,
            inspected: 0,
            lost: 0,
            ask_again_at: None,
            announced: BTreeSet::new(),
            totals: (0, 0),
        }
    }

    fn tick(&mut self, session: &mut Session<'_>) -> anyhow::Result<()> {
        session.drain()?;
        let now = Instant::now();
        if now.duration_since(self.last_sweep) >= self.sweep_every {
            self.last_sweep = now;
            session.sweep()?;
            let stuck = session
                .tracker
                .older_than(self.options.min_age.as_nanos() as u64);
            let lost = session
                .live
                .counters()
                .context("read the counters")?
                .all_lost();
            let due = stuck != self.inspected
                || lost > self.lost
                || self.ask_again_at.is_some_and(|at| mono_now_ns() >= at)
                || now.duration_since(self.last_inspection) >= RECONCILE;
            self.lost = lost;
            if due && now >= self.may_inspect {
                self.inspect(session)?;
            }
        }
        self.draw(session);
        Ok(())
    }

    fn inspect(&mut self, session: &mut Session<'_>) -> anyhow::Result<()> {
        let began = Instant::now();
        session.reconcile()?;
        self.enrich(session, began)
    }

    /// The second half of an inspection that began then.
    fn enrich(&mut self, session: &mut Session<'_>, began: Instant) -> anyhow::Result<()> {
        session.enrich()?;
        let now = Instant::now();
        let took = now.duration_since(began);
        self.last_inspection = now;
        self.inspected = session
            .tracker
            .older_than(self.options.min_age.as_nanos() as u64);
        if let Some(Findings {
            report,
            ask_again_at,
        }) = session.findings()
        {
            self.ask_again_at = ask_again_at;
            self.totals = (report.totals.close_wait, report.totals.stuck);
            self.tell(report, session)?;
        }
        let patience = match self.ask_again_at {
            Some(_) => Duration::ZERO,
            None => PATIENCE,
        };
        let pause = (took * DUTY).min(patience.max(took * MOST));
        self.may_inspect = now + pause.max(Duration::from_millis(200));
        Ok(())
    }

    /// One line for each site that is new.
    fn tell(&mut self, mut report: Report, session: &Session<'_>) -> anyhow::Result<()> {
        if self.options.redact_addrs {
            redact::redact_remote_addresses(&mut report);
        }
        let scope = session
            .tracker
            .run_header()
            .map(|run_header| &run_header.scope);
        let policy = blaming::policy(self.options);
        for site in &report.sites {
            // The open question may turn it into something else in a moment.
            let open = self.ask_again_at.is_some() && site.verdict == Verdict::Unknown;
            if open || !self.announced.insert(site.id.clone()) {
                continue;
            }
            self.status.clear();
            let is_application = |frame: &Frame| policy.is_application(frame);
            let options = output::human(self.options, scope, &is_application);
            // stdout carries nothing but the JSON document when there is one.
            let announced = if self.options.json || self.options.output.is_some() {
                human::write_site_found(&mut io::stderr(), site, Timestamp::now(), &options)
            } else {
                human::write_site_found(&mut io::stdout(), site, Timestamp::now(), &options)
            };
            announced.map_err(|error| output::failed(self.options, error))?;
        }
        Ok(())
    }

    fn draw(&mut self, session: &Session<'_>) {
        if !self.status.is_on() {
            return;
        }
        let counters = session.tracker.counters();
        let progress = Progress {
            elapsed: self.began.elapsed(),
            min_age: self.options.min_age,
            close_wait: self.totals.0,
            stuck: self.totals.1,
            sites: self.announced.len() as u64,
            events: counters.received,
            lost: self.lost,
        };
        self.status.draw(&human::status_line(
            &progress,
            super::terminal::width().saturating_sub(1),
        ));
    }
}
