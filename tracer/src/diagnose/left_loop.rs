//! How a connection left its event loop after its last use: who took it out is who should have put it back, or closed it.

use tracer_common::event::TELLS_OF_FIN;

use super::{SocketView, context::loops::left_at};
use crate::model::{epoll::EpollChange, report::Direction, socket::LastOperation, stack::Frame};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftLoop {
    pub change: EpollChange,
    /// Else it left before changes were watched, and the change is of another one that was used last at the same place.
    pub is_own: bool,
    /// A function of the program's did it that its thread has returned from. Loops that gather what handlers ask for,
    /// and tell the kernel before they wait, are alone on the stack of that, and are on it while they wait.
    pub by_handler: bool,
}

impl LeftLoop {
    /// Where, if that tells whom to blame.
    pub fn taken_out(&self) -> Option<LastOperation> {
        self.by_handler.then(|| self.change.operation())
    }
}

impl SocketView<'_> {
    /// `None` where something asks for its input: changes are seen in windows, so it may have been put back after the last.
    pub fn left_loop(&self) -> Option<LeftLoop> {
        let watch = self.watch();
        if watch.is_some_and(|watch| watch.events & TELLS_OF_FIN != 0) {
            return None;
        }
        let last = self.last_operation()?;
        let changes = self.tracker.epoll_changes(self.socket.cookie);
        let own = left_at(changes, last.at);
        let like_others = || {
            let place = self.context.last_place(last.stack)?;
            let is_out = changes.is_empty() && self.epoll_known();
            let change = self.context.loop_habits.taken_out_at(place);
            change.filter(|_| is_out)
        };
        let change = own.or_else(like_others)?;
        Some(LeftLoop {
            change,
            is_own: own.is_some(),
            by_handler: self.is_by_handler(&change),
        })
    }

    fn is_by_handler(&self, change: &EpollChange) -> bool {
        let operation = change.operation();
        let stack = self.stack(Some(operation));
        let blamed = stack.and_then(|stack| self.blamed(stack));
        blamed.is_some_and(|frame| {
            let returned = self.context.has_returned_from(operation.actor(), frame);
            returned == Some(true) && !self.was_used_by_better(frame)
        })
    }

    /// A library takes a connection out by itself, as its readers do not keep up: whoever uses that library for it is to
    /// blame, if another stack shows who that is.
    fn was_used_by_better(&self, library: &Frame) -> bool {
        let history = *self.socket.history;
        // Who accepts does so for all.
        let opened = history
            .opened
            .filter(|_| self.direction() == Some(Direction::Connected));
        let mut stacks = [history.used, opened]
            .into_iter()
            .filter_map(|operation| self.stack(operation));
        stacks.any(|stack| {
            let user = self.blamed(stack);
            user.is_some_and(|user| self.context.outranks(user, library))
        })
    }
}
