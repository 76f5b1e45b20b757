//! Empties the two rings, also in a thread of its own: naming a stack may take seconds, and the rings hold
//! less than that. What there is no room for stays in them, so only the kernel program counts losses.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::Notify;
use tracer_common::{
    decode::{self, Record},
    event::{Executed, Sampled, StackCopy},
};

/// The event ring holds 35,000 records; at 100,000 a second that is three of these.
const DRAIN: Duration = Duration::from_millis(100);
/// A record is being written, or there is no room: readable, but nothing can be taken.
const BUSY: Duration = Duration::from_millis(5);
/// Copies that wait in memory, 20 KiB each; as many as are kept by key.
const MAX_COPIES: usize = 2048;
/// Of samples, 2 KiB each: more than a round takes.
const MAX_SAMPLED: usize = 1024;
/// Records of events that wait in memory, 232 bytes each.
const MAX_EVENTS: usize = 1 << 18;

/// What has been taken out of the rings.
#[derive(Default)]
pub struct Batch {
    pub stacks: Vec<Box<StackCopy>>,
    /// Of a followed tree.
    pub executed: Vec<Executed>,
    pub events: Vec<Record>,
    /// What threads that are sampled execute of an interpreter.
    pub sampled: Vec<Box<Sampled>>,
}

#[derive(Clone)]
pub struct Rings(Arc<Mutex<Held>>);

struct Held {
    events: RingBuf<MapData>,
    stacks: RingBuf<MapData>,
    waiting: Batch,
    /// Copies in `waiting` whose process has been named to `newcomers` already.
    announced: usize,
    received: u64,
    damaged: u64,
}

impl Rings {
    pub fn new(events: RingBuf<MapData>, stacks: RingBuf<MapData>) -> Self {
        Self(Arc::new(Mutex::new(Held {
            events,
            stacks,
            waiting: Batch::default(),
            announced: 0,
            received: 0,
            damaged: 0,
        })))
    }

    /// Everything that has been sent and not taken yet.
    pub fn take(&self) -> Batch {
        let mut held = self.held();
        held.empty();
        held.announced = 0;
        std::mem::take(&mut held.waiting)
    }

    /// Processes of which copies wait that nobody has been told of yet: they may end any moment.
    pub fn newcomers(&self) -> Vec<u32> {
        let mut held = self.held();
        held.empty();
        let fresh = held.waiting.stacks.iter().skip(held.announced);
        let mut pids: Vec<u32> = fresh.map(|copy| copy.tgid).collect();
        held.announced = held.waiting.stacks.len();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Records of events received so far, and those of either ring that could not be read.
    pub fn counts(&self) -> (u64, u64) {
        let held = self.held();
        (held.received, held.damaged)
    }

    /// Starts the thread; it ends when the result is dropped. What comes within `gather` of the last is told of together.
    pub fn collect(&self, gather: Duration) -> io::Result<Collector> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let readable = rustix::io::fcntl_dupfd_cloexec(self.held().stacks.as_fd(), 0)?;
        let stopped = rustix::io::fcntl_dupfd_cloexec(&stop, 0)?;
        let copies = Arc::new(Notify::new());
        let (rings, tell) = (self.clone(), Arc::clone(&copies));
        let thread = thread::Builder::new()
            .name("rings".to_owned())
            .spawn(move || rings.keep_empty(&readable, &stopped, &tell, gather))?;
        Ok(Collector {
            copies,
            stop,
            thread: Some(thread),
        })
    }

    fn keep_empty(&self, readable: &OwnedFd, stopped: &OwnedFd, copies: &Notify, gather: Duration) {
        loop {
            let mut fds = [
                PollFd::new(readable, PollFlags::IN),
                PollFd::new(stopped, PollFlags::IN),
            ];
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(DRAIN.subsec_nanos()),
            };
            // Interrupted or timed out, the rings are emptied all the same.
            let ready = poll(&mut fds, Some(&timeout)).unwrap_or(0) > 0;
            let [_, stop] = &fds;
            if !stop.revents().is_empty() {
                return;
            }
            let came = self.held().empty();
            if came {
                copies.notify_one();
                thread::sleep(gather);
            } else if ready {
                thread::sleep(BUSY);
            }
        }
    }

    /// Who died while holding it was between two records.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// True when copies of stacks came.
    fn empty(&mut self) -> bool {
        let before = self.waiting.stacks.len() + self.waiting.executed.len();
        // Stacks first: their processes may be about to exit.
        self.take_stacks();
        while self.waiting.events.len() < MAX_EVENTS
            && let Some(bytes) = self.events.next()
        {
            let record = decode::record(&bytes);
            // Changes to epoll sets have an account of their own.
            self.received += u64::from(!matches!(record, Ok(Record::Epoll(_))));
            match record {
                Ok(record) => self.waiting.events.push(record),
                Err(damage) => note(&mut self.damaged, damage),
            }
        }
        // The stack of an event is sent before it, so it has come by now if it was not there above.
        self.take_stacks();
        self.waiting.stacks.len() + self.waiting.executed.len() > before
    }

    fn take_stacks(&mut self) {
        while self.waiting.stacks.len() < MAX_COPIES
            && let Some(bytes) = self.stacks.next()
        {
            match decode::record(&bytes) {
                Ok(Record::Stack(copy)) => self.waiting.stacks.push(copy),
                Ok(Record::Executed(executed)) => self.waiting.executed.push(executed),
                Ok(Record::Sampled(sampled)) if self.waiting.sampled.len() < MAX_SAMPLED => {
                    self.waiting.sampled.push(sampled);
                }
                Ok(_) => {}
                Err(damage) => note(&mut self.damaged, damage),
            }
        }
    }
}

fn note(damaged: &mut u64, damage: decode::Damage) {
    *damaged += 1;
    tracing::warn!(?damage, "a record of the kernel program cannot be read");
}

/// The thread that keeps the rings empty.
pub struct Collector {
    copies: Arc<Notify>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Waits until copies of stacks have come.
    pub async fn copies(&self) {
        self.copies.notified().await;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Without this it ends with the process.
        if rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}
