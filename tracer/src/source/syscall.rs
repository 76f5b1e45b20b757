//! The system call a thread is in: its name, and which descriptor it is about.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    pub number: i64,
    pub first: u64,
}

impl Syscall {
    pub fn name(self) -> Option<&'static str> {
        name(self.number)
    }

    /// The descriptor, for calls whose first argument is one.
    pub fn fd(self) -> Option<i32> {
        const TAKES_FD: &[&str] = &[
            "read",
            "write",
            "readv",
            "writev",
            "recvfrom",
            "recvmsg",
            "sendto",
            "sendmsg",
            "accept",
            "accept4",
            "epoll_wait",
            "epoll_pwait",
            "connect",
            "sendfile",
            "fsync",
        ];
        self.name()
            .filter(|name| TAKES_FD.contains(name))
            .and_then(|_| i32::try_from(self.first).ok())
    }
}

/// The system calls a thread of a server blocks in; others are shown by number elsewhere.
#[cfg(target_arch = "x86_64")]
const NAMES: &[(i64, &str)] = &[
    (0, "read"),
    (1, "write"),
    (7, "poll"),
    (19, "readv"),
    (20, "writev"),
    (23, "select"),
    (34, "pause"),
    (35, "nanosleep"),
    (40, "sendfile"),
    (42, "connect"),
    (43, "accept"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (61, "wait4"),
    (74, "fsync"),
    (130, "rt_sigsuspend"),
    (128, "rt_sigtimedwait"),
    (202, "futex"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (247, "waitid"),
    (270, "pselect6"),
    (271, "ppoll"),
    (281, "epoll_pwait"),
    (288, "accept4"),
    (426, "io_uring_enter"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
];
#[cfg(target_arch = "aarch64")]
const NAMES: &[(i64, &str)] = &[
    (22, "epoll_pwait"),
    (63, "read"),
    (64, "write"),
    (65, "readv"),
    (66, "writev"),
    (71, "sendfile"),
    (72, "pselect6"),
    (73, "ppoll"),
    (82, "fsync"),
    (95, "waitid"),
    (98, "futex"),
    (101, "nanosleep"),
    (115, "clock_nanosleep"),
    (133, "rt_sigsuspend"),
    (137, "rt_sigtimedwait"),
    (202, "accept"),
    (203, "connect"),
    (206, "sendto"),
    (207, "recvfrom"),
    (211, "sendmsg"),
    (212, "recvmsg"),
    (242, "accept4"),
    (260, "wait4"),
    (426, "io_uring_enter"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NAMES: &[(i64, &str)] = &[];

fn name(number: i64) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn only_calls_that_take_a_descriptor_have_one() {
        let of = |number| Syscall { number, first: 4 };
        assert_eq!((of(45).name(), of(45).fd()), (Some("recvfrom"), Some(4)));
        assert_eq!((of(202).name(), of(202).fd()), (Some("futex"), None));
        assert_eq!((of(-1).name(), of(-1).fd()), (None, None));
    }
}
