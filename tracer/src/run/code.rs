//! The exit code of a run: CMD's own failure wins, then a leak, then not knowing.

use super::follow::{Ended, Execution};
use crate::exit;
use crate::model::outcome::{Checked, Outcome};
use crate::options::{IfUnable, Run};

pub(super) fn of(executions: &[Execution], outcome: &Outcome, run: &Run) -> u8 {
    if run.until.is_some() {
        let found = executions.iter().any(|done| done.found);
        return if found {
            exit::DONE
        } else {
            exit::NOT_APPEARED
        };
    }
    if let Some(own) = own_failure(executions) {
        return own;
    }
    if outcome.failing().next().is_some() {
        return run.error_exitcode;
    }
    match outcome.checked {
        Checked::Whole => exit::DONE,
        Checked::Not { .. } if run.if_unable == IfUnable::Skip => exit::DONE,
        Checked::InPart | Checked::Not { .. } => exit::FAILED,
    }
}

/// An output that is missing is a failure of ours, and hides neither CMD's nor a leak.
pub(super) fn after_delivery(code: u8, everything_written: bool) -> u8 {
    match code {
        exit::DONE if !everything_written => exit::FAILED,
        code => code,
    }
}

/// Whose code it is, where that could be mistaken, and why CMD was ended.
pub(super) fn note(executions: &[Execution], outcome: &Outcome, run: &Run) -> Option<String> {
    if let Some(until) = &run.until {
        let found = executions.iter().any(|done| done.found);
        let outcome = if found {
            "appeared, and the command was ended for that"
        } else {
            "did not appear"
        };
        let function = until.function.as_ref();
        let place = function.map_or_else(String::new, |function| format!(" in {function}"));
        return Some(format!("{}{place} {outcome}", until.verdict));
    }
    let own = own_failure(executions)?;
    let leaks = outcome.failing().next().is_some();
    let ours = own == run.error_exitcode || own == exit::FAILED;
    match (ours, leaks) {
        (true, _) => Some(format!("the command itself ended with {own}")),
        (false, true) => Some(format!(
            "the command itself failed with {own}, which is passed on; the leaks alone would give {}",
            run.error_exitcode
        )),
        (false, false) => None,
    }
}

fn own_failure(executions: &[Execution]) -> Option<u8> {
    let codes = executions.iter().map(|done| match &done.end {
        Ended::With(end) => end.code(),
        Ended::NotStarted(_) | Ended::NotTried => of_no_run(done),
    });
    codes.into_iter().find(|code| *code != exit::DONE)
}

/// CMD was not executed.
pub(super) fn of_no_run(execution: &Execution) -> u8 {
    match &execution.end {
        Ended::NotStarted(error) => error.code(),
        Ended::NotTried | Ended::With(_) => exit::FAILED,
    }
}
