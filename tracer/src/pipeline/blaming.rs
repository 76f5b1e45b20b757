//! Whom to blame, with what the user added to the built-in table.

use crate::model::input::Warning;
use crate::model::stack::Frame;
use crate::model::untrusted::Untrusted;
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

/// A word for each name that means no frame of any stack: a name with a slip in it would do nothing, silently.
pub fn unmatched(options: &Options, tracker: &Tracker) -> Vec<Warning> {
    let recorded = tracker.stacks().flat_map(|stack| &stack.frames);
    let threads = tracker.threaded().flat_map(|pid| tracker.threads(pid));
    let frames: Vec<&Frame> = recorded
        .chain(threads.flat_map(|thread| &thread.stack))
        .collect();
    let means_one = |name: &String| {
        let policy = Policy {
            not_blamed: vec![name.clone()],
            ..Policy::default()
        };
        frames.iter().any(|frame| policy.spares(frame))
    };
    let names = options.not_blame.iter();
    names
        .filter(|name| !frames.is_empty() && !means_one(name))
        .map(|name| {
            let text = format!(
                "--not-blame {} matched nothing: no stack has a module or a function of that name",
                Untrusted::new(name)
            );
            Warning::new("not-blame-unmatched", name, text)
        })
        .collect()
}
