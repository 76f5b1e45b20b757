//! `sockleak run -- CMD`, the side without privileges: starts CMD at a gate and the tracer beside it, passes
//! signals on, and turns the tracer's report into an exit code. Looks at no socket itself.

mod baseline;
mod child;
mod code;
mod deliver;
mod events;
mod follow;
mod gate;
mod identity;
mod judge;
mod known;
mod lines;
pub mod privileged;
mod signals;
mod suppress;
mod warn;
pub mod wire;

use std::io::{self, Write as _};
use std::time::Instant;

pub use gate::serve_if_asked;

use self::deliver::Delivery;
use self::follow::{Ended, Execution, Task};
use crate::exit::Explained;
use crate::model::outcome::{Checked, Outcome};
use crate::options::{Options, Run};

/// Runs CMD and says what leaked; the result is the exit code.
pub fn run(options: &Options, run: &Run) -> anyhow::Result<u8> {
    // Everything that can be wrong with the user's files is told before CMD begins.
    let mut delivery = Delivery::open(options, run)?;
    let mut judge = known::judge(run)?;
    warn::of_what_sudo_left(&run.command);
    let began = Instant::now();
    let execution = follow::follow(&Task {
        options,
        run,
        command: &run.command,
        variable: None,
        record: delivery.record(),
    })?;
    if let Some(why) = not_run(&execution, run) {
        // Nobody may be listening.
        let _ = writeln!(io::stderr(), "sockleak: {why}");
        return Ok(code::of_no_run(&execution));
    }
    let outcome = Outcome {
        command: shown(run),
        seconds: began.elapsed().as_secs_f64(),
        checked: checked(&execution),
        findings: judge.findings(sites(&execution)),
        notes: judge.suppressions.notes(),
    };
    delivery.deliver(&execution, &outcome)?;
    Ok(code::of(&execution, &outcome, run))
}

/// CMD did not run, and why.
fn not_run(execution: &Execution, run: &Run) -> Option<Explained> {
    match (&execution.end, &execution.traced) {
        (Ended::NotTried, Err(why)) => Some(why.clone()),
        (Ended::NotStarted(error), _) => Some(error.explained(run.command.first())),
        _ => None,
    }
}

fn checked(execution: &Execution) -> Checked {
    match &execution.traced {
        Err(why) => Checked::Not {
            why: why.sentence(),
        },
        Ok(last) if last.report.window.complete => Checked::Whole,
        Ok(_) => Checked::InPart,
    }
}

fn sites(execution: &Execution) -> Vec<crate::model::report::Site> {
    let report = execution.traced.as_ref().map(|last| &last.report);
    report.map_or_else(|_| Vec::new(), |report| report.sites.clone())
}

fn shown(run: &Run) -> String {
    let words: Vec<_> = run
        .command
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}
