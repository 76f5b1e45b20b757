//! `sockleak run -- CMD`, the side without privileges: starts CMD at a gate and the tracer beside it, passes
//! signals on, and turns the tracer's report into an exit code. Looks at no socket itself.

mod baseline;
mod child;
mod code;
mod deliver;
mod destination;
mod events;
mod follow;
mod gate;
mod identity;
mod judge;
mod known;
mod lines;
mod often;
pub mod privileged;
mod signals;
mod suppress;
mod together;
mod warn;
pub mod wire;

use std::io::{self, Write as _};
use std::time::Instant;

pub use gate::serve_if_asked;

use self::deliver::Delivery;
use self::follow::{Ended, Execution};
use crate::exit::{self, Explained};
use crate::model::outcome::{Checked, Outcome};
use crate::model::report::Report;
use crate::options::{Options, Run};

/// Runs CMD and says what leaked; the result is the exit code.
pub fn run(options: &Options, run: &Run) -> anyhow::Result<u8> {
    // Everything that can be wrong with the user's files is told before CMD begins.
    let mut judge = known::judge(run)?;
    let delivery = Delivery::open(options, run)?;
    warn::of_what_sudo_left(&run.command);
    let began = Instant::now();
    let mut executions = often::run(options, run, delivery.record())?;
    for last in executions.iter_mut().flat_map(|done| &mut done.traced) {
        judge.soften(&mut last.report);
    }
    if let Some(why) = executions.iter().find_map(|done| not_run(done, run)) {
        // Nobody may be listening.
        let _ = writeln!(io::stderr(), "sockleak: {why}");
        delivery.forsake();
        return Ok(executions.first().map_or(exit::FAILED, code::of_no_run));
    }
    let reports: Vec<&Report> = executions.iter().filter_map(report).collect();
    let mut outcome = Outcome {
        command: shown(run),
        seconds: began.elapsed().as_secs_f64(),
        checked: checked(&executions),
        findings: often::findings(run, &reports, &mut judge),
        notes: judge.suppressions.notes(),
    };
    outcome.notes.extend(code::note(&executions, &outcome, run));
    let report = together::report(&reports, &outcome);
    let failed = delivery.deliver(report.as_ref(), &outcome);
    for error in &failed {
        let _ = writeln!(io::stderr(), "sockleak: {}", exit::render(error));
    }
    let code = code::of(&executions, &outcome, run);
    Ok(code::after_delivery(code, failed.is_empty()))
}

/// CMD did not run, and why.
fn not_run(execution: &Execution, run: &Run) -> Option<Explained> {
    match (&execution.end, &execution.traced) {
        (Ended::NotTried, Err(why)) => Some(why.clone()),
        (Ended::NotStarted(error), _) => Some(error.explained(run.command.first())),
        _ => None,
    }
}

/// Of all runs together: one that was not looked at leaves the question open.
fn checked(executions: &[Execution]) -> Checked {
    let unable = executions
        .iter()
        .find_map(|done| done.traced.as_ref().err());
    if let Some(why) = unable {
        return Checked::Not {
            why: why.sentence(),
        };
    }
    let whole = |report: &Report| report.window.complete;
    if executions.iter().filter_map(report).all(whole) {
        Checked::Whole
    } else {
        Checked::InPart
    }
}

fn report(execution: &Execution) -> Option<&Report> {
    execution.traced.as_ref().ok().map(|last| &last.report)
}

fn shown(run: &Run) -> String {
    let words: Vec<_> = run
        .command
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests;
