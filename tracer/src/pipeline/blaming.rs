//! Whom to blame, with what the user added to the built-in table.

use crate::model::input::Warning;
use crate::model::report::Report;
use crate::model::stack::{Frame, JAVA, PHP, PYTHON, RUBY, Runtime};
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

/// Says of each function of a managed runtime whose it is, and of what is blamed the library.
pub fn say_whose(report: &mut Report) {
    for site in &mut report.sites {
        let stacks = &mut site.stacks;
        let kinds = [
            &mut stacks.opened,
            &mut stacks.eof,
            &mut stacks.last_used,
            &mut stacks.taken_out,
            &mut stacks.sibling_close,
        ];
        let holders = stacks.holders.iter_mut().map(|holder| &mut holder.stack);
        for frame in kinds.into_iter().flatten().chain(holders).flatten() {
            frame.tier = Policy::tier(frame);
            frame.runtime = match frame.module.as_deref() {
                Some(PYTHON) => Some(Runtime::Python),
                Some(JAVA) => Some(Runtime::Jvm),
                Some(RUBY) => Some(Runtime::Ruby),
                Some(PHP) => Some(Runtime::Php),
                _ => frame.runtime,
            };
        }
        if let Some(blame) = &mut site.blame {
            let raw = |text: &Untrusted| text.raw().to_owned();
            let frame = Frame {
                function: Some(raw(&blame.function)),
                module: blame.module.as_ref().map(raw),
                file: blame.file.as_ref().map(raw),
                ..Frame::default()
            };
            blame.library = Policy::library(&frame).map(Untrusted::new);
        }
    }
}

/// The same, with what is known of how the processes read and write.
pub fn policy_for(options: &Options, tracker: &Tracker) -> Policy {
    let plain = policy(options);
    let wrappers = Wrappers::of(tracker.stacks(), |frame| plain.is_application(frame));
    Policy { wrappers, ..plain }
}

/// The names of `--not-blame` that mean no frame of any stack so far. Stacks are forgotten, so each report is looked at.
pub struct Unmatched {
    names: Vec<String>,
    looked: bool,
}

impl Unmatched {
    pub fn of(options: &Options) -> Self {
        Self {
            names: options.not_blame.clone(),
            looked: false,
        }
    }

    pub fn look(&mut self, tracker: &Tracker) {
        if self.names.is_empty() {
            return;
        }
        let recorded = tracker.stacks().flat_map(|stack| &stack.frames);
        let threads = tracker.threaded().flat_map(|pid| tracker.threads(pid));
        let frames: Vec<&Frame> = recorded
            .chain(threads.flat_map(|thread| &thread.stack))
            .collect();
        self.looked |= !frames.is_empty();
        self.names.retain(|name| {
            let policy = Policy {
                not_blamed: vec![name.clone()],
                ..Policy::default()
            };
            !frames.iter().any(|frame| policy.spares(frame))
        });
    }

    /// A word for each: a name with a slip in it would do nothing, silently.
    pub fn warnings(&self) -> Vec<Warning> {
        let names = self.names.iter().filter(|_| self.looked);
        names
            .map(|name| {
                let text = format!(
                    "--not-blame {} matched nothing: no stack has a module or a function of that name",
                    Untrusted::new(name)
                );
                Warning::new("not-blame-unmatched", name, text)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{input::Input, stack::Stack};

    #[test]
    fn a_name_that_meant_a_stack_which_is_forgotten_is_no_slip() {
        let mut unmatched = Unmatched {
            names: vec!["libpool".to_owned(), "libpoool".to_owned()],
            looked: false,
        };
        assert!(unmatched.warnings().is_empty());
        let mut tracker = Tracker::default();
        let frame = Frame {
            module: Some("libpool.so.1".to_owned()),
            ..Frame::default()
        };
        let stack = Stack {
            frames: vec![frame],
            ..Stack::default()
        };
        tracker.apply(Input::Stack { key: 1, stack });
        unmatched.look(&tracker);
        unmatched.look(&Tracker::default());
        let told = unmatched.warnings();
        assert_eq!(told.len(), 1);
        assert!(told[0].text.contains("--not-blame libpoool"), "{told:?}");
    }
}
