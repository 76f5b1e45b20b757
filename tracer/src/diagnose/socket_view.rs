//! A socket with everything the rules ask about it.

use std::cell::OnceCell;

use smallvec::SmallVec;
use tracer_common::{
    event::OUTSIDE,
    state::{CLOSE, CLOSE_WAIT},
};

use super::{
    Proof,
    context::{
        ReportContext,
        activations::{Activation, Over},
    },
};
use crate::{
    model::{
        input::Process,
        report::Direction,
        socket::{LastOperation, SocketOperation},
        stack::{Frame, Stack},
    },
    track::{Listener, Shown, Socket, Tracker},
};

pub struct SocketView<'a> {
    pub socket: &'a Socket,
    pub tracker: &'a Tracker,
    pub now: u64,
    pub min_age: u64,
    pub context: &'a ReportContext<'a>,
    /// What the rule that answered has found.
    pub proof: Option<Proof<'a>>,
    holder_pids: Pids,
    activation: OnceCell<Activation<'a>>,
}

type Pids = SmallVec<[u32; 2]>;

impl<'a> SocketView<'a> {
    pub fn new(socket: &'a Socket, context: &'a ReportContext<'a>, min_age: u64) -> Self {
        let tracker = context.tracker;
        let mut view = Self {
            socket,
            tracker,
            now: tracker.now(),
            min_age,
            context,
            proof: None,
            holder_pids: Pids::new(),
            activation: OnceCell::new(),
        };
        view.holder_pids = view.find_holder_pids();
        view
    }

    pub fn age(&self) -> u64 {
        self.socket.age(self.now)
    }

    /// In its state for the threshold, not owned by the kernel, and not in use: a connection may be
    /// half closed for as long as this side still sends, or still reads what lies there.
    pub fn is_stuck(&self) -> bool {
        // Who noted the end has looked at the rest.
        self.has_ended() || self.seems_stuck() && self.would_be_seen_in_use()
    }

    /// It would be, if nobody used it; and that is not known yet.
    pub fn awaits_evidence(&self) -> bool {
        !self.has_ended() && self.seems_stuck() && !self.would_be_seen_in_use()
    }

    fn seems_stuck(&self) -> bool {
        self.socket.shown != Shown::Never
            && self.socket.is_stuck_state()
            && (self.age() >= self.min_age || self.is_undecided())
            && !self.is_kernels()
            && !self.is_in_use()
    }

    /// It may have been in its state for the threshold, or for less: its last packet, which may have been an
    /// answer to a keepalive probe, came less than that ago, its last data more. Only of what stayed from one
    /// look to the next, and was neither read nor written in between.
    pub fn is_undecided(&self) -> bool {
        let at_most = self.socket.age_at_most(self.now);
        self.socket.since_is_lower_bound
            && self.age() < self.min_age
            && at_most.is_some_and(|at_most| at_most >= self.min_age)
            && self.socket.looks > 1
            && self.socket.moved_at == 0
    }

    /// It was stuck when it was last heard of: it has ended since, nobody knows after what.
    pub fn was_stuck(&self) -> bool {
        let heard = self.socket.seen;
        let moves =
            |used: LastOperation| self.moves(used) && heard.saturating_sub(used.at) < self.min_age;
        !self.is_kernels() && !self.socket.history.used.is_some_and(moves)
    }

    /// Only the exit of its process has closed it.
    pub fn has_ended(&self) -> bool {
        self.socket.ended.is_some()
    }

    /// The same of one that had only a copy of the descriptor: the program has closed its own.
    pub fn has_ended_as_copy(&self) -> bool {
        let ended_by = self.socket.ended_by();
        self.has_ended() && ended_by.is_some_and(|pid| self.socket.is_copy_of(pid))
    }

    pub fn in_close_wait(&self) -> bool {
        self.socket.state == CLOSE_WAIT
    }

    pub fn is_hidden(&self) -> bool {
        self.socket.state == CLOSE
    }

    /// Sockets the kernel made for itself (NFS, SMC) have a `struct socket` and no file.
    fn is_kernels(&self) -> bool {
        self.socket.has_socket && self.socket.inode == 0
    }

    /// What its holders do was seen for the threshold: a connection that is still in use would have shown it. At one
    /// that nobody has accepted there is nothing to see.
    fn would_be_seen_in_use(&self) -> bool {
        let needs_no_watching = (self.tracker.evidence()).is_none_or(|evidence| evidence.unable)
            || !self.in_close_wait()
            || self.is_unaccepted()
            || self.socket.holders.is_empty();
        let watched = |from| self.now.saturating_sub(from) >= self.min_age;
        !self.is_write_seen_once() && (needs_no_watching || self.seen_from().is_some_and(watched))
    }

    /// The moment from which on all that its holders did was seen, if it is seen.
    fn seen_from(&self) -> Option<u64> {
        let pids = self.holder_pids().iter();
        let from = pids.map(|pid| self.tracker.seen_from(*pid));
        from.collect::<Option<Vec<u64>>>()
            .map(|from| from.into_iter().max().unwrap_or(0))
    }

    /// Nobody has accepted it: `sk_socket` is set by `accept()` (`net/core/sock.h:sock_graft`).
    pub fn is_unaccepted(&self) -> bool {
        self.socket.is_unaccepted()
    }

    /// The whole life of the socket was seen, so an absent operation means an absent call.
    pub fn whole_life_seen(&self) -> bool {
        let opened = self.socket.history.opened;
        opened.is_some_and(|opened| self.seen_from().is_some_and(|from| from <= opened.at))
    }

    /// Reads are observed, so that none seen means none made (but for `splice()`, which no hook sees).
    pub fn sees_reads(&self) -> bool {
        let header = self.tracker.run_header();
        header.is_some_and(|header| header.observes.reads) && self.was_seen_since_its_state()
    }

    pub fn sees_writes(&self) -> bool {
        let header = self.tracker.run_header();
        header.is_some_and(|header| header.observes.writes) && self.was_seen_since_its_state()
    }

    fn was_seen_since_its_state(&self) -> bool {
        self.tracker.evidence().is_none()
            || (self.seen_from()).is_some_and(|from| from <= self.socket.since)
    }

    /// No holder is hidden in another pid namespace.
    pub fn all_holders_seen(&self) -> bool {
        self.tracker
            .run_header()
            .is_some_and(|run_header| !run_header.some_processes_unseen)
    }

    /// Its reader meets the end again and again, and so does nothing else: as of a moment ago.
    pub fn reads_on(&self) -> bool {
        /// However short the threshold: threads of one interpreter take turns.
        const TURNS: u64 = 1_000_000_000;
        let last = self.socket.history.eof.map_or(0, |eof| eof.at);
        self.socket.end_read_again && self.now.saturating_sub(last) < (self.min_age / 4).max(TURNS)
    }

    /// A relay has told the other side of the end, and waits for that side to end as well.
    pub fn was_passed_on(&self) -> bool {
        let partner = self.context.pairs.partner_of(self.socket.cookie);
        partner.is_some_and(|partner| !partner.is_open())
    }

    /// Nothing the kernel program had to say was lost on its way since the socket was opened.
    pub fn nothing_lost(&self) -> bool {
        let began = self.socket.history.opened.map_or(0, |opened| opened.at);
        self.tracker.nothing_lost_since(began)
    }

    pub fn listener(&self) -> Option<&'a Listener> {
        self.tracker.listener_of(self.socket)
    }

    /// Seen at `accept()` or `connect()`; else a listener on the local port proves an accepted one.
    pub fn direction(&self) -> Option<Direction> {
        if self.is_unaccepted() {
            return Some(Direction::Unaccepted);
        }
        match self.socket.history.opened.map(|opened| opened.kind) {
            Some(SocketOperation::Accept) => Some(Direction::Accepted),
            Some(SocketOperation::Connect) => Some(Direction::Connected),
            _ => self.listener().map(|_| Direction::Accepted),
        }
    }

    /// Pids that hold a descriptor, or that could accept it.
    pub fn holder_pids(&self) -> &[u32] {
        &self.holder_pids
    }

    fn find_holder_pids(&self) -> Pids {
        let holders = if self.is_unaccepted() {
            self.listener()
                .map(|listener| listener.holders.as_slice())
                .unwrap_or_default()
        } else {
            &self.socket.holders
        };
        let mut pids: Pids = holders.iter().map(|holder| holder.pid).collect();
        if pids.is_empty() {
            pids.extend(self.socket.ended_by());
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Its holders; of what no process holds, those that were seen to open or use it.
    pub fn concerned_pids(&self) -> Pids {
        let mut pids = self.holder_pids.clone();
        if pids.is_empty() && !self.is_unaccepted() {
            let history = *self.socket.history;
            let seen = [history.opened, history.used, history.eof]
                .into_iter()
                .flatten();
            pids.extend(
                seen.map(|operation| operation.pid)
                    .filter(|pid| *pid != OUTSIDE),
            );
        }
        pids
    }

    /// A program has opened it, and no process has a descriptor for it.
    pub fn is_nobodys(&self) -> bool {
        self.socket.holders.is_empty() && self.socket.inode != 0 && !self.has_ended()
    }

    pub fn holds(&self, pid: u32) -> bool {
        self.socket.holders.iter().any(|holder| holder.pid == pid)
    }

    /// The last thing anyone did to it.
    pub fn last_operation(&self) -> Option<LastOperation> {
        let history = *self.socket.history;
        [history.eof, history.used, history.opened]
            .into_iter()
            .flatten()
            .max_by_key(|operation| operation.at)
    }

    /// Has anyone read or written?
    pub fn is_unused(&self) -> bool {
        self.socket.history.used.is_none() && self.socket.history.eof.is_none()
    }

    /// What became of the call that touched it last.
    pub fn activation(&self) -> Activation<'a> {
        let history = *self.socket.history;
        let cookie = self.socket.cookie;
        let known = || match self.last_operation() {
            Some(last) if self.is_left_by(last.pid) => Activation::Over(Over::NotHeld),
            Some(last) if last.goroutine.is_some() => self
                .context
                .goroutine_activation(cookie, history)
                .unwrap_or(Activation::Unknown),
            Some(last) if last.virtual_thread.is_some() => {
                self.context.virtual_thread_activation(cookie, last)
            }
            Some(last) => self
                .context
                .activation(self.socket.cookie, last, self.threads_known()),
            None => Activation::Unknown,
        };
        *self.activation.get_or_init(|| {
            let writes = self.context.writing_to(cookie);
            writes.unwrap_or_else(known)
        })
    }

    /// All that hold it are known, and this process is none of them.
    fn is_left_by(&self, pid: u32) -> bool {
        let known = pid != OUTSIDE && !self.socket.holders.is_empty() && self.all_holders_seen();
        known && !self.holds(pid)
    }

    pub fn process(&self) -> Option<&'a Process> {
        if let Some(ended) = &self.socket.ended {
            let then = ended.process.as_deref();
            return then.or_else(|| self.process_before(ended.at));
        }
        self.holder_pids()
            .first()
            .and_then(|pid| self.tracker.process(*pid))
    }

    /// Whoever has the pid and began before this moment had it then, unless it had ended when the peer left.
    fn process_before(&self, at: u64) -> Option<&'a Process> {
        let pid = *self.holder_pids().first()?;
        let process = self.tracker.process_then(pid, self.socket.since)?;
        (process.start_boot != 0 && process.start_boot < at).then_some(process)
    }

    pub fn stack(&self, operation: Option<LastOperation>) -> Option<&'a Stack> {
        self.tracker.stack(operation?.stack)
    }

    pub fn blamed(&self, stack: &'a Stack) -> Option<&'a Frame> {
        stack.frames.get(self.context.blame(&stack.frames)?)
    }

    /// The program's own threads of control are goroutines, async tasks, greenlets or virtual threads: what each of
    /// them waits for, the kernel does not see.
    pub fn runs_tasks(&self) -> bool {
        // Of coroutines it is known where they wait if the loop's tasks could be read.
        let mut pids = self.holder_pids().iter();
        let are_read = pids.all(|pid| !self.tracker.tasks(*pid).is_empty());
        self.has_tasks(|frame| frame.is_of_tasks() || frame.of_coroutine && !are_read)
    }

    /// One thread that waits need not keep all of these from going on. It does keep coroutines: these run in the thread of
    /// their loop alone.
    pub fn may_run_elsewhere(&self) -> bool {
        self.has_tasks(Frame::is_of_tasks)
    }

    fn has_tasks(&self, are_of_tasks: impl Fn(&Frame) -> bool) -> bool {
        if self.knows_goroutines() {
            return false;
        }
        let history = *self.socket.history;
        let operations = [history.opened, history.used, history.eof];
        let mut stacks = operations
            .into_iter()
            .filter_map(|operation| self.stack(operation));
        let mut pids = self.holder_pids().iter().copied();
        stacks.any(|stack| stack.frames.iter().any(&are_of_tasks))
            || pids.any(|pid| self.context.runs_tasks(pid))
    }

    /// They are goroutines, and of each it is known what it waits in, and which one touched the socket.
    pub fn knows_goroutines(&self) -> bool {
        let history = *self.socket.history;
        let operations = [history.opened, history.used, history.eof];
        let mut operations = operations.into_iter().flatten();
        let pids = self.holder_pids();
        !pids.is_empty()
            && operations.all(|operation| operation.goroutine.is_some())
            && pids.iter().all(|pid| self.context.knows_goroutines(*pid))
    }

    /// Were all threads of all owners looked at?
    pub fn threads_known(&self) -> bool {
        self.holder_pids().iter().all(|pid| {
            if let Some(all) = self.tracker.goroutines(*pid) {
                return all;
            }
            let seen = self.tracker.threads(*pid).len();
            seen > 0
                && self
                    .tracker
                    .process(*pid)
                    .is_some_and(|process| seen >= process.threads as usize)
        })
    }
}
