//! What a thread waits for where only the name of its system call is known. Decides nothing about causes.

use std::borrow::Cow;

use crate::model::{
    input::Thread,
    wait::{FileKind, Polled, Target, Wait},
};

/// Recordings of earlier versions, and hosts where registers cannot be read in full, have the name of the
/// system call and its first descriptor only.
pub fn decoded(thread: &Thread) -> Cow<'_, Wait> {
    if thread.wait != Wait::Unknown {
        return Cow::Borrowed(&thread.wait);
    }
    let file = thread.socket.map_or(FileKind::Unknown, FileKind::Socket);
    let target = Target {
        fd: thread.fd.unwrap_or(-1),
        file,
    };
    let wait = match thread.syscall.as_deref() {
        None if thread.state == 'R' => Wait::Running,
        None => Wait::Unknown,
        Some("read" | "readv" | "recvfrom" | "recvmsg") => Wait::Receive(target),
        Some("write" | "writev" | "sendto" | "sendmsg" | "sendfile") => Wait::Send(target),
        Some("connect") => Wait::Connect(target),
        Some("accept" | "accept4") => Wait::Accept(target),
        Some("poll" | "ppoll") => Wait::Poll(Polled::default()),
        Some("select" | "pselect6") => Wait::Poll(Polled {
            select: true,
            ..Polled::default()
        }),
        Some("epoll_wait" | "epoll_pwait" | "epoll_pwait2") => Wait::Epoll {
            set: thread.fd.and_then(|fd| u32::try_from(fd).ok()).unwrap_or(0),
        },
        Some("futex" | "futex_waitv") => Wait::Futex { address: 0 },
        Some("nanosleep" | "clock_nanosleep") => Wait::Sleep,
        Some("wait4" | "waitid") => Wait::Child,
        Some("fsync" | "open" | "openat" | "openat2") => Wait::Disk,
        Some("io_uring_enter") => Wait::IoUring,
        Some(_) => Wait::Other,
    };
    Cow::Owned(wait)
}
