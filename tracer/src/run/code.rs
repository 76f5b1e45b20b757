//! The exit code of a run: CMD's own failure wins, then a leak, then not knowing.

use super::follow::{Ended, Execution};
use crate::exit;
use crate::model::outcome::{Checked, Outcome};
use crate::options::{IfUnable, Run};

pub(super) fn of(execution: &Execution, outcome: &Outcome, run: &Run) -> u8 {
    let own = match &execution.end {
        Ended::With(end) => end.code(),
        Ended::NotStarted(_) | Ended::NotTried => return of_no_run(execution),
    };
    if run.until.is_some() {
        return if execution.found {
            exit::DONE
        } else {
            exit::NOT_APPEARED
        };
    }
    if own != 0 {
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

/// CMD was not executed.
pub(super) fn of_no_run(execution: &Execution) -> u8 {
    match &execution.end {
        Ended::NotStarted(error) => error.code(),
        Ended::NotTried | Ended::With(_) => exit::FAILED,
    }
}
