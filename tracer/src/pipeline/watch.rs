//! `sockleak watch`: attach, find what is already stuck, follow, tell of each site once, report.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    blaming,
    output::{self, Outputs},
    pace::{Pace, TICK},
    session::Session,
    terminal::StatusLine,
};
use crate::{
    diagnose::Findings,
    model::{stack::Frame, verdict::Verdict},
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

pub async fn run(options: &Options, host: &Host) -> anyhow::Result<u8> {
    let began = Instant::now();
    let outputs = Outputs::open(options)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut session = Session::start(options, host, &Wanted::asked(options))?;
    let mut watch = Watch::new(options, &session);
    // Loading is not what an inspection takes, and must not delay the next one.
    let inspecting = Instant::now();
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
    let first = watch.pace.begin(&mut session, inspecting)?;
    watch.tell(first, &session)?;
    let deadline = sleep(options.duration.unwrap_or(Duration::MAX / 4));
    tokio::pin!(deadline);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let found = watch.pace.tick(&mut session)?;
                watch.tell(found, &session)?;
                watch.draw(&session);
            }
            () = session.copies() => session.drain()?,
            () = &mut deadline => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    watch.status.clear();
    session.drain()?;
    session.sweep()?;
    session.inspect_and_look_at_open()?;
    session.begin_sampling()?;
    // A rule that needs a second look gets it, a second at most.
    let again = session
        .findings()?
        .and_then(|findings| findings.ask_again_at);
    if let Some(at) = again {
        sleep(Duration::from_nanos(at.saturating_sub(mono_now_ns()))).await;
        session.inspect()?;
    }
    if session.sample_at_once()? {
        session.inspect()?;
    }
    output::deliver(session.conclude()?, options, outputs)
}

struct Watch<'o> {
    options: &'o Options,
    status: StatusLine,
    began: Instant,
    pace: Pace,
    announced: BTreeSet<String>,
    totals: (u64, u64),
}

impl<'o> Watch<'o> {
    fn new(options: &'o Options, session: &Session<'_>) -> Self {
        Self {
            options,
            status: StatusLine::new(),
            began: Instant::now(),
            pace: Pace::new(session),
            announced: BTreeSet::new(),
            totals: (0, 0),
        }
    }

    /// One line for each site that is new.
    fn tell(&mut self, found: Option<Findings>, session: &Session<'_>) -> anyhow::Result<()> {
        let Some(Findings { mut report, .. }) = found else {
            return Ok(());
        };
        self.totals = (report.totals.close_wait, report.totals.stuck);
        if self.options.redact_addrs {
            redact::redact_remote_addresses(&mut report);
        }
        let scope = session
            .tracker
            .run_header()
            .map(|run_header| &run_header.scope);
        let policy = blaming::policy(self.options);
        // What no report holds any more need not be remembered: it would be news.
        let held: BTreeSet<&String> = report.sites.iter().map(|site| &site.id).collect();
        self.announced.retain(|id| held.contains(id));
        for site in &report.sites {
            // The open question may turn it into something else in a moment.
            let open = self.pace.ask_again_at.is_some() && site.verdict == Verdict::Unknown
                || site.is_undecided(self.options.min_age.as_secs_f64());
            if open || !self.announced.insert(site.id.clone()) {
                continue;
            }
            self.status.clear();
            let is_application = |frame: &Frame| policy.is_application(frame);
            let options = output::human(self.options, scope, &is_application);
            // stdout carries nothing but the JSON document when there is one.
            let told = if self.options.json || self.options.output.is_some() {
                human::write_site_found(&mut io::stderr(), site, Timestamp::now(), &options)
            } else {
                human::write_site_found(&mut io::stdout(), site, Timestamp::now(), &options)
            };
            told.map_err(|error| output::failed(self.options, error))?;
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
            lost: self.pace.lost,
        };
        self.status.draw(&human::status_line(
            &progress,
            super::terminal::width().saturating_sub(1),
        ));
    }
}
