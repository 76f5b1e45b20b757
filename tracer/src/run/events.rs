//! What can happen while CMD runs, from three threads in one queue: signals to us, what becomes of CMD, and
//! news of the tracer.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::wire::{self, News};

/// `siginfo.si_code` of signals that no process has sent (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;

#[derive(Debug)]
pub(super) enum Event {
    /// A signal that a process sent to us, and not the terminal to all of its foreground processes.
    Sent(i32),
    /// Ctrl-C or Ctrl-\ at the terminal: CMD has got it too.
    Interrupted,
    Stopped,
    Ended(End),
    News(Box<News>),
    /// The tracer's end of the link is closed.
    TracerGone,
}

/// How CMD ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Code(u8),
    Signal(u8),
}

impl End {
    /// As a shell gives it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}

pub(super) struct Events {
    pub(super) queue: Receiver<Event>,
    to: Sender<Event>,
}

/// Every signal that can be caught, for one run after the other.
pub(super) struct Signals {
    to: Arc<Mutex<Option<Sender<Event>>>>,
    /// What was blocked before.
    before: SigSet,
}

impl Signals {
    /// The calling thread must be the only one: others would still get theirs.
    pub(super) fn take() -> io::Result<Self> {
        let before = SigSet::thread_get_mask()?;
        let all = SigSet::all();
        all.thread_block()?;
        let signals = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC)?;
        let to: Arc<Mutex<Option<Sender<Event>>>> = Arc::default();
        let current = Arc::clone(&to);
        thread::spawn(move || {
            while let Ok(Some(signal)) = signals.read_signal() {
                let to = current.lock().unwrap_or_else(PoisonError::into_inner);
                if let (Some(to), Some(event)) = (to.as_ref(), event_of(&signal)) {
                    // Between two runs nobody is to be told.
                    let _ = to.send(event);
                }
            }
        });
        Ok(Self { to, before })
    }

    /// Starts a program that inherits what was blocked before us; nothing is ever handled, so that is all there
    /// is to inherit. A signal that comes within this moment ends us, and the gate then opens for nobody.
    pub(super) fn as_before<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.before.thread_set_mask()?;
        let started = start();
        SigSet::all().thread_block()?;
        started
    }
}

impl Events {
    pub(super) fn of(signals: &Signals) -> Self {
        let (to, queue) = channel();
        let mut current = signals.to.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(to.clone());
        Self { queue, to }
    }

    pub(super) fn of_child(&self, pid: Pid) {
        let to = self.to.clone();
        thread::spawn(move || {
            while let Some(event) = next_of_child(pid) {
                let last = matches!(event, Event::Ended(_));
                if to.send(event).is_err() || last {
                    return;
                }
            }
        });
    }

    pub(super) fn of_tracer(&self, link: UnixStream) {
        let to = self.to.clone();
        thread::spawn(move || {
            while let Ok(Some(news)) = wire::receive(&link) {
                if to.send(Event::News(Box::new(news))).is_err() {
                    return;
                }
            }
            // Nobody listens any more: nothing is lost.
            let _ = to.send(Event::TracerGone);
        });
    }
}

fn event_of(signal: &siginfo) -> Option<Event> {
    let by_kernel = signal.ssi_code == SI_KERNEL;
    match signal.ssi_signo as i32 {
        libc::SIGCHLD | libc::SIGPIPE => None,
        libc::SIGINT | libc::SIGQUIT if by_kernel => Some(Event::Interrupted),
        // The terminal tells CMD itself, which is in our process group. What the kernel sends for a limit of
        // ours is not meant for CMD.
        _ if by_kernel => None,
        number => Some(Event::Sent(number)),
    }
}

/// `None` when it cannot be waited for.
fn next_of_child(pid: Pid) -> Option<Event> {
    loop {
        let (_, status) = match waitpid(Some(pid), WaitOptions::UNTRACED) {
            Ok(Some(found)) => found,
            Ok(None) | Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
        };
        if status.stopped() {
            return Some(Event::Stopped);
        }
        if let Some(code) = status.exit_status() {
            return Some(Event::Ended(End::Code(code as u8)));
        }
        if let Some(signal) = status.terminating_signal() {
            return Some(Event::Ended(End::Signal(signal as u8)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_would_give_the_same_code() {
        assert_eq!(End::Code(3).code(), 3);
        assert_eq!(End::Signal(9).code(), 137);
    }
}
