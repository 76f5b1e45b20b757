//! Whose `close()` it was: a process may end by way of its language runtime, which closes what the program has left. Then
//! the exit has closed it, as it does without a runtime. That the process ends shows a moment after the close, so what
//! may be such a one waits that long.

use std::time::{Duration, Instant};

use tracer_common::state::CLOSE_WAIT;

use super::session::Session;
use crate::{
    model::input::{Input, Task, Transition},
    options::Mode,
    source::process,
};

/// From the first socket that a runtime closes to the end of its process.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const LONGER_THAN_AN_END: u64 = 100_000_000;
/// Others are taken for what they seem to be.
const MAX_HELD: usize = 65_536;

/// Closes that wait, and what came of their sockets since.
#[derive(Default)]
pub struct Endings(Vec<Held>);

struct Held {
    since: Instant,
    pid: u32,
    cookie: u64,
    /// The program ran on after the peer had left: that did not come of the runtime closing the other end.
    was_left_to_end: bool,
    input: Input,
}

impl Session<'_> {
    /// Takes in what came, in its order for each socket.
    pub(super) fn take_in(&mut self, input: Input) -> anyhow::Result<()> {
        match &input {
            Input::Transition(change) if self.may_be_of_end(change)? => {
                let pid = change.task.as_ref().map_or(0, |task| task.pid);
                let (cookie, left) = (change.cookie, self.was_left_to_end(change));
                self.hold(pid, cookie, left, input);
                return Ok(());
            }
            Input::Destroyed(change) => {
                let cookie = change.cookie;
                let mut held = self.endings.0.iter();
                let held = held.find(|held| held.cookie == cookie);
                if let Some((pid, left)) = held.map(|held| (held.pid, held.was_left_to_end)) {
                    self.hold(pid, cookie, left, input);
                    return Ok(());
                }
            }
            _ => {}
        }
        self.feed_change(input)
    }

    /// Those whose process has ended, and those whose process goes on after all.
    pub(super) fn release(&mut self) -> anyhow::Result<()> {
        self.decide(|held| {
            let ended = !process::is_alive(held.pid);
            (ended || held.since.elapsed() > ENDS_WITHIN).then_some(ended)
        })
    }

    /// Nothing more will be told.
    pub(super) fn release_all(&mut self) -> anyhow::Result<()> {
        self.decide(|held| Some(!process::is_alive(held.pid)))
    }

    /// `ended` says whether the process of one has ended, once that is known.
    fn decide(&mut self, ended: impl Fn(&Held) -> Option<bool>) -> anyhow::Result<()> {
        let mut left = Vec::new();
        for mut held in std::mem::take(&mut self.endings.0) {
            let Some(by_exit) = ended(&held) else {
                left.push(held);
                continue;
            };
            if by_exit
                && held.was_left_to_end
                && let Some(task) = task(&mut held.input)
            {
                task.exiting = true;
            }
            self.feed_change(held.input)?;
        }
        self.endings.0 = left;
        Ok(())
    }

    fn hold(&mut self, pid: u32, cookie: u64, left: bool, input: Input) {
        self.endings.0.push(Held {
            since: Instant::now(),
            pid,
            cookie,
            was_left_to_end: left,
            input,
        });
    }

    /// A runtime that ends takes some milliseconds, and may close both ends.
    fn was_left_to_end(&self, change: &Transition) -> bool {
        change.at.saturating_sub(change.since) > LONGER_THAN_AN_END
            || self.tracker.has_read_end(change.cookie)
    }

    fn feed_change(&mut self, input: Input) -> anyhow::Result<()> {
        if let Input::Transition(change) | Input::Destroyed(change) = &input {
            self.learn_of_exit(change)?;
        }
        self.feed(input)
    }

    /// A close of a connection that the peer has left, from within a runtime that ends.
    fn may_be_of_end(&mut self, change: &Transition) -> anyhow::Result<bool> {
        let by_program = change.task.as_ref().is_some_and(|task| !task.exiting);
        if !matches!(self.options.mode, Mode::Run(_))
            || !by_program
            || change.old != CLOSE_WAIT
            || change.stack == 0
            || self.endings.0.len() >= MAX_HELD
        {
            return Ok(false);
        }
        self.name_stacks([change.stack].into())?;
        let stack = self.tracker.stack(change.stack);
        Ok(stack.is_some_and(|stack| stack.of_end))
    }
}

fn task(input: &mut Input) -> Option<&mut Task> {
    match input {
        Input::Transition(change) | Input::Destroyed(change) => change.task.as_mut(),
        _ => None,
    }
}
