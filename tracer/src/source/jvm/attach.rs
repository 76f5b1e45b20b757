//! Asks a Java virtual machine for its thread dump, as the JDK's own tools do (`attachListener_posix.cpp`
//! in HotSpot): a file and a SIGQUIT make it listen on a socket in its /tmp, which takes requests.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Signal;

use super::refusal::Why;
use super::target::{self, Target};
use crate::probe::user;

#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Until the socket is there, and again until the answer is complete.
    pub patience: Duration,
    /// A machine that takes the signal later than this prints a dump into its output. Until then the
    /// file stays that makes the signal a request.
    pub trigger_stays: Duration,
    pub bytes: usize,
}

pub(super) const LIMITS: Limits = Limits {
    patience: Duration::from_secs(1),
    trigger_stays: Duration::from_secs(10),
    bytes: 4 << 20,
};
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Protocol 1, the command, three arguments.
const REQUEST: &[u8] = b"1\0threaddump\0\0\0\0";
const DONE: &[u8] = b"0\n";

pub(super) struct Answer {
    pub text: String,
    /// Why it is not the whole.
    pub cut: Option<Why>,
}

/// A thread that acts as the user of the target. Ends by itself.
pub(super) struct Asking {
    answer: Receiver<Result<Answer, Why>>,
    thread: JoinHandle<()>,
    limits: Limits,
}

impl Asking {
    /// Only in the first pid namespace: elsewhere the peer of a socket may have no id, which is not
    /// provided for.
    pub(super) fn begin(target: Target, limits: Limits) -> Result<Self, Why> {
        let (sender, answer) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("ask a jvm".to_owned())
            .spawn(move || ask(&target, limits, &sender))
            .map_err(|error| Why::Failed {
                doing: "start a thread",
                reason: error.to_string(),
            })?;
        Ok(Self {
            answer,
            thread,
            limits,
        })
    }

    /// Also returns the thread, which may have a file to remove yet.
    pub(super) fn answer(self) -> (Result<Answer, Why>, JoinHandle<()>) {
        // The file system may be as slow as the target's owner likes.
        let at_most = self.limits.patience * 3;
        let silent = |_| Err(Why::Silent(at_most));
        let answer = self.answer.recv_timeout(at_most).unwrap_or_else(silent);
        (answer, self.thread)
    }
}

fn ask(target: &Target, limits: Limits, sender: &SyncSender<Result<Answer, Why>>) {
    // Nobody may be waiting any more.
    let tell = |result| drop(sender.try_send(result));
    if user::act_as(target.uid, target.gid).is_err() {
        return tell(Err(Why::OtherUser));
    }
    let socket = match own_socket(target) {
        Ok(None) => request_socket(target, limits, &tell),
        Ok(found) => found,
        Err(why) => return tell(Err(why)),
    };
    if let Some(socket) = socket {
        tell(converse(target, &socket, limits));
    }
}

/// Opened without opening it, so that it is the same one that is checked and connected to.
fn own_socket(target: &Target) -> Result<Option<OwnedFd>, Why> {
    let name = format!(".java_pid{}", target.own_pid);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = match rustix::fs::openat(&target.tmp, &name, flags, Mode::empty()) {
        Ok(socket) => socket,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Why::failed("open its attach socket")(errno)),
    };
    let found = rustix::fs::fstat(&socket).map_err(Why::failed("open its attach socket"))?;
    if !target::is_own(&found, FileType::Socket, target.uid) {
        let path = format!("/tmp/{name}");
        return Err(Why::Foreign { path });
    }
    Ok(Some(socket))
}

/// Makes the machine listen. `None` when it was told why not.
fn request_socket(
    target: &Target,
    limits: Limits,
    tell: &dyn Fn(Result<Answer, Why>),
) -> Option<OwnedFd> {
    let begun = || {
        target.may_be_signalled.clone()?;
        let trigger = Trigger::place(target)?;
        rustix::process::pidfd_send_signal(&target.handle, Signal::QUIT)
            .map_err(Why::failed("send it a signal"))?;
        Ok(trigger)
    };
    let _trigger = match begun() {
        Ok(trigger) => trigger,
        Err(why) => {
            tell(Err(why));
            return None;
        }
    };
    let asked = Instant::now();
    let mut told = false;
    loop {
        match own_socket(target) {
            Ok(None) => {}
            Ok(Some(socket)) => return (!told).then_some(socket),
            Err(why) => {
                tell(Err(why));
                return None;
            }
        }
        let waited = asked.elapsed();
        if !told && waited >= limits.patience {
            tell(Err(Why::Silent(limits.patience)));
            told = true;
        }
        let handle = PollFd::new(&target.handle, PollFlags::IN);
        let ended = !matches!(poll(&mut [handle], Some(&timespec(LOOK_EVERY))), Ok(0));
        if ended || waited >= limits.trigger_stays {
            tell(Err(Why::Silent(waited)));
            return None;
        }
    }
}

/// The file that makes a SIGQUIT a request; removed when dropped, if it is this one's.
struct Trigger<'a> {
    target: &'a Target,
    name: String,
    made: bool,
}

impl<'a> Trigger<'a> {
    fn place(target: &'a Target) -> Result<Self, Why> {
        let name = target::trigger(target.own_pid);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let rights = Mode::RUSR | Mode::WUSR;
        let made = match rustix::fs::openat(&target.tmp, &name, flags, rights) {
            Ok(_) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(Why::failed("make a file in its /tmp")(errno)),
        };
        let trigger = Self { target, name, made };
        // Another tool may be asking too. The machine ignores a file of another user, and would
        // print a dump into its output.
        let found = rustix::fs::statat(&target.tmp, &trigger.name, AtFlags::SYMLINK_NOFOLLOW);
        if found.is_ok_and(|found| target::is_own(&found, FileType::RegularFile, target.uid)) {
            return Ok(trigger);
        }
        let path = format!("/tmp/{}", trigger.name);
        Err(Why::Foreign { path })
    }
}

impl Drop for Trigger<'_> {
    fn drop(&mut self) {
        if self.made {
            let _ = rustix::fs::unlinkat(&self.target.tmp, &self.name, AtFlags::empty());
        }
    }
}

fn converse(target: &Target, socket: &OwnedFd, limits: Limits) -> Result<Answer, Why> {
    let deadline = Instant::now() + limits.patience;
    let connection = connect(target, socket)?;
    send(&connection, deadline, limits)?;
    let (bytes, cut) = receive(&connection, deadline, limits)?;
    let text = bytes.strip_prefix(DONE).ok_or(Why::Nonsense)?;
    let text = String::from_utf8_lossy(text).into_owned();
    Ok(Answer { text, cut })
}

fn connect(target: &Target, socket: &OwnedFd) -> Result<OwnedFd, Why> {
    let failed = Why::failed("connect to its attach socket");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let connection = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(&failed)?;
    // The very file that was checked; and a path in another root may be longer than an address.
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    let address = SocketAddrUnix::new(path).map_err(&failed)?;
    rustix::net::connect(&connection, &address).map_err(&failed)?;
    let peer = rustix::net::sockopt::socket_peercred(&connection).map_err(&failed)?;
    let is_target = peer.pid.as_raw_nonzero().get() as u32 == target.pid;
    if !is_target || peer.uid.as_raw() != target.uid {
        let path = format!("/tmp/.java_pid{}", target.own_pid);
        return Err(Why::Foreign { path });
    }
    Ok(connection)
}

fn send(connection: &OwnedFd, deadline: Instant, limits: Limits) -> Result<(), Why> {
    let mut rest = REQUEST;
    while !rest.is_empty() {
        if !ready(connection, PollFlags::OUT, deadline) {
            return Err(Why::Silent(limits.patience));
        }
        // No SIGPIPE: the target may hang up at any moment.
        match rustix::net::send(connection, rest, rustix::net::SendFlags::NOSIGNAL) {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(Why::failed("send it a request")(errno)),
        }
    }
    Ok(())
}

/// What came within the limits; and why there may be more.
fn receive(
    connection: &OwnedFd,
    deadline: Instant,
    limits: Limits,
) -> Result<(Vec<u8>, Option<Why>), Why> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while bytes.len() < limits.bytes {
        if !ready(connection, PollFlags::IN, deadline) {
            let silent = Why::Silent(limits.patience);
            return if bytes.is_empty() {
                Err(silent)
            } else {
                Ok((bytes, Some(silent)))
            };
        }
        match rustix::io::read(connection, &mut *buffer) {
            Ok(0) => return Ok((bytes, None)),
            Ok(read) => bytes.extend(buffer.iter().take(read)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(Why::failed("read its answer")(errno)),
        }
    }
    bytes.truncate(limits.bytes);
    Ok((bytes, Some(Why::TooLong(limits.bytes))))
}

fn ready(connection: &OwnedFd, what: PollFlags, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let polled = poll(&mut [PollFd::new(connection, what)], Some(&timespec(left)));
    matches!(polled, Ok(1..) | Err(Errno::INTR)) && !left.is_zero()
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests;
