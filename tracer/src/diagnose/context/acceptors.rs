//! Who should accept, and what keeps it from that.

use foldhash::HashSet;

use super::{ReportContext, decoded::decoded, waits::WaitsFor};
use crate::model::{
    actor::Actor,
    input::{Interest, Thread},
    socket::{Holder, LastOperation, SocketOperation},
    stack::Frame,
    wait::{Target, Wait},
};

#[derive(Clone, Copy, Debug)]
pub enum Acceptance<'a> {
    /// This thread should accept and is blocked or busy in something else.
    Kept {
        thread: &'a Thread,
        /// It has accepted before, or shares the work of one that has.
        has_accepted: bool,
    },
    /// Who accepts is blocked in nothing, but all that serve what it has accepted are.
    /// So are those when it waits for other threads itself, in nobody's own code.
    Served {
        thread: &'a Thread,
        all: usize,
        for_whom: Option<&'a Thread>,
    },
    /// Who should accept is not known, or is blocked in nothing; where the last connection was accepted.
    NobodyIsKept(Option<&'a [Frame]>),
}

impl<'a> ReportContext<'a> {
    /// By the processes that hold the listener, its port and its descriptors.
    pub fn acceptance(&self, holders: &[u32], port: u16, listener: &[Holder]) -> Acceptance<'a> {
        let accepts = self.accepts(holders, port);
        let actors: HashSet<Actor> = accepts.iter().map(LastOperation::actor).collect();
        let accepted = |thread: &&'a Thread| actors.contains(&thread.actor());
        let workers: Vec<u32> = holders
            .iter()
            .copied()
            .filter(|pid| !self.only_starts_others(*pid, holders))
            .collect();
        let threads: Vec<&'a Thread> = workers
            .iter()
            .flat_map(|pid| self.tracker.threads(*pid))
            .collect();
        let kept = |thread: &&'a Thread| {
            self.is_kept(thread) || self.is_kept_in_call(thread, &accepts, listener)
        };
        let own = threads.iter().copied().filter(accepted);
        if let Some(thread) = longest(own.filter(kept)) {
            let has_accepted = true;
            // It waits for others to be free; what they do tells more than how it waits.
            if let Some(Acceptance::Served {
                thread: worker,
                all,
                ..
            }) = self
                .waits_in_runtime(thread)
                .then(|| self.served(&threads))
                .flatten()
            {
                return Acceptance::Served {
                    thread: worker,
                    all,
                    for_whom: Some(thread),
                };
            }
            return Acceptance::Kept {
                thread,
                has_accepted,
            };
        }
        if let Some(last) = accepts.iter().max_by_key(|accept| accept.at) {
            let stack = self.tracker.stack(last.stack);
            let of_tasks = stack.is_some_and(|stack| stack.frames.iter().any(Frame::is_of_tasks));
            // Any thread of the runtime may be the next to accept.
            let mates = threads.iter().copied().filter(|thread| {
                of_tasks && thread.stack.iter().any(Frame::is_of_tasks) && self.is_kept(thread)
            });
            return match longest(mates) {
                Some(thread) => Acceptance::Kept {
                    thread,
                    has_accepted: true,
                },
                None => self.served(&threads).unwrap_or_else(|| {
                    Acceptance::NobodyIsKept(stack.map(|stack| stack.frames.as_slice()))
                }),
            };
        }
        // Nobody was seen to accept: only processes of one thread leave no choice.
        let alone = |pid: &u32| match self.tracker.threads(*pid) {
            [only] => Some(only),
            _ => None,
        };
        let all: Option<Vec<&'a Thread>> = workers.iter().map(alone).collect();
        match longest(all.into_iter().flatten().filter(kept)) {
            Some(thread) => Acceptance::Kept {
                thread,
                has_accepted: false,
            },
            None => Acceptance::NobodyIsKept(None),
        }
    }

    /// Those that read and write what others accept, when none of them is free: whoever accepts may wait for one.
    fn served(&self, threads: &[&'a Thread]) -> Option<Acceptance<'a>> {
        let serves = |thread: &&&'a Thread| {
            let actor = thread.actor();
            let reads_for_others = matches!(self.waits.of(thread), WaitsFor::Set(_));
            self.threads.has_served(actor) && !self.threads.has_accepted(actor) && !reads_for_others
        };
        let seen: Vec<&'a Thread> = threads.iter().filter(serves).copied().collect();
        // Of some of a pool the requests were read by others.
        let mate = |thread: &&&'a Thread| {
            let kind = self
                .kind(thread)
                .filter(|_| !self.threads.has_accepted(thread.actor()));
            kind.is_some() && seen.iter().any(|serves| self.kind(serves) == kind)
        };
        let mates = threads.iter().filter(mate);
        let mut serving = seen.clone();
        serving.extend(mates.filter(|mate| !seen.iter().any(|seen| seen.actor() == mate.actor())));
        let blocked =
            |thread: &&'a Thread| self.is_kept(thread) && self.waits.of(thread).is_of_work();
        (serving.len() > 1 && serving.iter().all(blocked))
            .then(|| longest(serving.iter().copied()))
            .flatten()
            .map(|thread| Acceptance::Served {
                thread,
                all: serving.len(),
                for_whom: None,
            })
    }

    /// For other threads, and none of the functions on its stack is the program's own.
    fn waits_in_runtime(&self, thread: &Thread) -> bool {
        matches!(self.waits.of(thread), WaitsFor::Futex | WaitsFor::Lock(_))
            && self.blame(&thread.stack).is_none()
    }

    /// Of connections that live, as far as it is known by which listener they came.
    fn accepts(&self, holders: &[u32], port: u16) -> Vec<LastOperation> {
        let own = self.threads.histories();
        let own = own.filter(|(cookie, _)| {
            let known = self.local_ports.get(cookie);
            known.is_none_or(|known| *known == port)
        });
        own.filter_map(|(_, history)| history.opened)
            .filter(|opened| {
                opened.kind == SocketOperation::Accept && holders.contains(&opened.pid)
            })
            .collect()
    }

    /// A master that opened the listener for its children, and never accepts itself.
    fn only_starts_others(&self, pid: u32, holders: &[u32]) -> bool {
        let is_parent = holders.iter().any(|other| {
            let process = self.tracker.process(*other);
            process.is_some_and(|process| process.parent == pid)
        });
        let mut threads = self.tracker.threads(pid).iter();
        is_parent && !threads.any(|thread| self.threads.has_accepted(thread.actor()))
    }

    /// Its loop has called code of the program's, which waits for something that is neither a client nor the listener: no
    /// connection is accepted before that call returns.
    fn is_kept_in_call(
        &self,
        thread: &Thread,
        accepts: &[LastOperation],
        listener: &[Holder],
    ) -> bool {
        let own = accepts
            .iter()
            .filter(|accept| accept.actor() == thread.actor());
        let Some(accept) = own.max_by_key(|accept| accept.at) else {
            return false;
        };
        let fds = listener.iter().filter(|holder| holder.pid == accept.pid);
        let is_listener = |fd: u32| fds.clone().any(|holder| holder.fd == fd);
        let waits_for_others = match &*decoded(thread) {
            Wait::Epoll { set } => self.tracker.epoll(accept.pid).is_some_and(|interests| {
                // Zero where it is not known which set.
                let is_of_it = |member: &&Interest| *set == 0 || [0, *set].contains(&member.set);
                let mut members = interests.iter().filter(is_of_it);
                members.all(|member| !is_listener(member.fd))
                    && !self.set_has_clients(accept.pid, *set)
            }),
            Wait::Poll(polled) => {
                let is_ours = |target: Target| u32::try_from(target.fd).is_ok_and(is_listener);
                let is_client = |target: Target| {
                    let socket = target.file.socket();
                    socket.is_some_and(|inode| self.waits.is_client(inode))
                };
                let members = || polled.members.iter().map(|member| member.target);
                // The one that it serves may be among them.
                let clients = members().filter(|target| is_client(*target)).count();
                let serves_one = clients == 0 || clients == 1 && polled.members.len() > 1;
                polled.complete && serves_one && !members().any(is_ours)
            }
            _ => false,
        };
        waits_for_others
            && fds.clone().next().is_some()
            && self.calls_another(*accept, thread).is_some()
    }

    /// It is neither free nor in a wait from which it could go on to accept.
    fn is_kept(&self, thread: &'a Thread) -> bool {
        let waits = self.waits.of(thread);
        let free = matches!(
            waits,
            WaitsFor::NewConnections
                | WaitsFor::Set(_)
                | WaitsFor::Several
                | WaitsFor::Unknown
                | WaitsFor::Stopped
        );
        !free && !self.is_idle(thread)
    }
}

fn longest<'a>(threads: impl Iterator<Item = &'a Thread>) -> Option<&'a Thread> {
    threads.min_by_key(|thread| (thread.since.unwrap_or(u64::MAX), thread.actor()))
}
