//! When a run that follows sockets asks the kernel's table, and when it inspects what it found: often enough
//! to tell of a leak soon, seldom enough to cost little. Has no output of its own.

use std::time::{Duration, Instant};

use super::{
    session::{Session, ns},
    trouble::{MAX_RETRIES, Trouble},
};
use crate::{
    diagnose::Findings,
    model::input::Warning,
    probe::host::{cpu_time, mono_now_ns},
};

/// How often what the rings gave is taken in.
pub const TICK: Duration = Duration::from_millis(100);
/// Without anything new, the iterators still check the table this often.
const RECONCILE: Duration = Duration::from_secs(30);
/// Inspections take at most one part in this many of a CPU's time,
const DUTY: u32 = 20;
/// unless that would keep a new site from the user for longer than this; but never more than a fifth.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST: u32 = 5;
/// The pause after an inspection that failed, for each failure in a row.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub struct Pace {
    sweep_every: Duration,
    last_sweep: Instant,
    last_inspection: Instant,
    may_inspect: Instant,
    /// How long the last inspection took.
    pub took: Duration,
    /// What the last one cost in time on a CPU; waiting costs nobody anything.
    cost: Duration,
    min_age_ns: u64,
    /// Sockets beyond the threshold at the last inspection.
    inspected: usize,
    pub lost: u64,
    /// When a rule may be able to prove what it could not (`CLOCK_MONOTONIC` ns).
    pub ask_again_at: Option<u64>,
    failures: u32,
    pub inspections: u64,
    pub failed: u64,
}

impl Pace {
    pub fn new(session: &Session<'_>) -> Self {
        let now = Instant::now();
        Self {
            sweep_every: (session.grace() / 2).clamp(TICK, Duration::from_millis(500)),
            last_sweep: now,
            last_inspection: now,
            may_inspect: now,
            took: Duration::ZERO,
            cost: Duration::ZERO,
            min_age_ns: ns(session.options.min_age),
            inspected: 0,
            lost: 0,
            ask_again_at: None,
            failures: 0,
            inspections: 0,
            failed: 0,
        }
    }

    /// The second half of the first inspection, which began then; without it there is nothing to go on from,
    /// so every failure ends the run.
    pub fn begin(
        &mut self,
        session: &mut Session<'_>,
        began: Instant,
    ) -> anyhow::Result<Option<Findings>> {
        let spent = spent(session);
        Ok(self.enrich(session, began, spent)?)
    }

    /// Takes in what came; the report, when it was time for one.
    pub fn tick(&mut self, session: &mut Session<'_>) -> anyhow::Result<Option<Findings>> {
        session.drain()?;
        session.rest_from_loops()?;
        let now = Instant::now();
        if now.duration_since(self.last_sweep) < self.sweep_every {
            return Ok(None);
        }
        self.last_sweep = now;
        match self.sweep_and_inspect(session, now) {
            Ok(findings) => Ok(findings),
            Err(Trouble::Fatal(error)) => Err(error),
            Err(Trouble::Retry(error)) => self.try_later(session, error),
        }
    }

    fn sweep_and_inspect(
        &mut self,
        session: &mut Session<'_>,
        now: Instant,
    ) -> Result<Option<Findings>, Trouble> {
        session.sweep()?;
        session.look_at_open_in_time()?;
        let lost = session.lost()?;
        let due = session.tracker.older_than(self.min_age_ns) != self.inspected
            || lost > self.lost
            || self.ask_again_at.is_some_and(|at| mono_now_ns() >= at)
            || self.is_due_for_evidence(session)
            || session.loops.has_news()
            || session.samplings.has_news()
            || session.open_looks.has_news()
            || now.duration_since(self.last_inspection) >= RECONCILE;
        if !due || now < self.may_inspect || session.samplings.holds_back() {
            return Ok(None);
        }
        self.lost = lost;
        let spent = spent(session);
        session.reconcile()?;
        self.enrich(session, now, spent)
    }

    fn is_due_for_evidence(&self, session: &Session<'_>) -> bool {
        let last = ns(self.last_inspection.elapsed());
        let now = mono_now_ns();
        let watched = session.watched.as_ref();
        watched
            .is_some_and(|watched| watched.is_due(now.saturating_sub(last), now, self.min_age_ns))
    }

    fn enrich(
        &mut self,
        session: &mut Session<'_>,
        began: Instant,
        spent_before: Duration,
    ) -> Result<Option<Findings>, Trouble> {
        session.enrich()?;
        self.failures = 0;
        self.inspections += 1;
        tracing::debug!(remembered = ?session.remembered(), "inspected");
        let now = Instant::now();
        self.took = now.duration_since(began);
        self.last_inspection = now;
        self.inspected = session.tracker.older_than(self.min_age_ns);
        let findings = session.findings()?;
        session.begin_sampling()?;
        session.open_looks.reported();
        let cost = spent(session).saturating_sub(spent_before);
        // Reading a program's symbols for the first time will not be needed the next time.
        let expected = cost.min(self.cost);
        self.cost = cost;
        self.ask_again_at = findings.as_ref().and_then(|found| found.ask_again_at);
        let patience = match self.ask_again_at {
            Some(_) => Duration::ZERO,
            None => PATIENCE,
        };
        let pause = (expected * DUTY).min(patience.max(expected * MOST));
        self.may_inspect = now + pause.max(Duration::from_millis(200));
        Ok(findings)
    }

    /// The next attempt comes later each time; the report says what it lacks meanwhile.
    fn try_later(
        &mut self,
        session: &mut Session<'_>,
        error: anyhow::Error,
    ) -> anyhow::Result<Option<Findings>> {
        self.failures += 1;
        self.failed += 1;
        if self.failures > MAX_RETRIES {
            return Err(error.context(format!("{MAX_RETRIES} inspections in a row failed")));
        }
        tracing::warn!("an inspection failed and is tried again: {error:#}");
        let text = format!(
            "an inspection failed ({error:#}) and was tried again: what happened meanwhile was seen later"
        );
        session.warn([Warning::new("inspection-failed", &"", text)])?;
        self.may_inspect = Instant::now() + AFTER_FAILURE * self.failures;
        Ok(None)
    }
}

/// Time on a CPU, of this process and those that read program files for it.
fn spent(session: &Session<'_>) -> Duration {
    cpu_time() + session.symbolizer.spent()
}
