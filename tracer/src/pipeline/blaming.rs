//! Whom to blame, with what the user added to the built-in table.

use crate::options::Options;
use crate::symbolize::blame::{Policy, Wrappers};
use crate::track::Tracker;

pub fn policy(options: &Options) -> Policy {
    Policy {
        not_blamed: options.not_blame.clone(),
        ..Policy::default()
    }
}

/// The same, with what is known of how the processes read and write.
pub fn policy_for(options: &Options, tracker: &Tracker) -> Policy {
    let plain = policy(options);
    let wrappers = Wrappers::of(tracker.stacks(), |frame| plain.is_application(frame));
    Policy { wrappers, ..plain }
}
