//! The table of hooks: what each is for, whether the tool can do without, and what is lost then.

use super::status::{State, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    TpBtf,
    Fexit,
    /// A classic tracepoint of the category `syscalls`.
    Syscall,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Fexit => "fexit",
            Self::Syscall => "tracepoint",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    /// The report knows less without it, and says what.
    Enhances,
}

/// What a hook observes. Hooks of one purpose are alternatives, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Transitions,
    Destruction,
    Reads,
    Writes,
    Accepts,
    Processes,
    /// What event loops do with their sockets; in windows.
    Loops,
}

#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Hooks may share one.
    pub program: &'static str,
    /// The program that does nothing on the same hook: the benchmark's floor.
    pub empty: Option<&'static str>,
    pub kind: Kind,
    pub target: &'static str,
    pub purpose: Purpose,
    pub need: Need,
    /// What the user loses without it.
    pub why: &'static str,
    /// What is worse than with the first choice, if this is an alternative.
    pub degrades: Option<&'static str>,
}

const fn tp_btf(
    program: &'static str,
    empty: Option<&'static str>,
    target: &'static str,
    purpose: Purpose,
    need: Need,
    why: &'static str,
) -> Hook {
    Hook {
        program,
        empty,
        kind: Kind::TpBtf,
        target,
        purpose,
        need,
        why,
        degrades: None,
    }
}

pub const HOOKS: &[Hook] = &[
    tp_btf(
        "set_state",
        Some("empty_set_state"),
        "inet_sock_set_state",
        Purpose::Transitions,
        Need::Required,
        "every state change of every TCP socket",
    ),
    tp_btf(
        "destroy",
        Some("empty_destroy"),
        "tcp_destroy_sock",
        Purpose::Destruction,
        Need::Enhances,
        "without it the end of a socket is noticed only at the next reconciliation",
    ),
    tp_btf(
        "recv_length",
        Some("empty_recv_length"),
        "sock_recv_length",
        Purpose::Reads,
        Need::Enhances,
        "without it nothing tells who read a socket's EOF or read it last",
    ),
    Hook {
        program: "recvmsg",
        empty: None,
        kind: Kind::Fexit,
        target: "tcp_recvmsg",
        purpose: Purpose::Reads,
        need: Need::Enhances,
        why: "without it nothing tells who read a socket's EOF or read it last",
        degrades: Some("kernel before 6.3: reads through kTLS and MPTCP are not seen"),
    },
    tp_btf(
        "send_length",
        Some("empty_send_length"),
        "sock_send_length",
        Purpose::Writes,
        Need::Enhances,
        "without it the last use of a socket is its last read (the tracepoint came in 6.3)",
    ),
    Hook {
        program: "accept",
        empty: None,
        kind: Kind::Fexit,
        target: "inet_csk_accept",
        purpose: Purpose::Accepts,
        need: Need::Enhances,
        why: "without it nothing tells which code accepted a connection",
        degrades: None,
    },
    Hook {
        program: "exit_accept",
        empty: Some("empty_exit_accept"),
        kind: Kind::Syscall,
        target: "sys_exit_accept",
        purpose: Purpose::Accepts,
        need: Need::Enhances,
        why: "without it nothing tells which code accepted a connection",
        degrades: Some(SYSCALL_COST),
    },
    Hook {
        program: "exit_accept",
        empty: Some("empty_exit_accept"),
        kind: Kind::Syscall,
        target: "sys_exit_accept4",
        purpose: Purpose::Accepts,
        need: Need::Enhances,
        why: "without it nothing tells which code accepted a connection",
        degrades: Some(SYSCALL_COST),
    },
    Hook {
        program: "epoll_ctl",
        empty: Some("empty_epoll_ctl"),
        kind: Kind::Fexit,
        target: "do_epoll_ctl",
        purpose: Purpose::Loops,
        need: Need::Enhances,
        why: WITHOUT_LOOPS,
        degrades: None,
    },
    Hook {
        program: "exit_epoll_ctl",
        empty: Some("empty_exit_accept"),
        kind: Kind::Syscall,
        target: "sys_exit_epoll_ctl",
        purpose: Purpose::Loops,
        need: Need::Enhances,
        why: WITHOUT_LOOPS,
        degrades: None,
    },
    tp_btf(
        "process_fork",
        None,
        "sched_process_fork",
        Purpose::Processes,
        Need::Enhances,
        "without it --pid does not follow children",
    ),
    tp_btf(
        "process_exec",
        None,
        "sched_process_exec",
        Purpose::Processes,
        Need::Enhances,
        "without it a stack may be matched against a program that has since been replaced",
    ),
    tp_btf(
        "process_exit",
        None,
        "sched_process_exit",
        Purpose::Processes,
        Need::Enhances,
        "without it memory of ended processes is freed late",
    ),
];

const WITHOUT_LOOPS: &str =
    "without it nothing tells that a program took a socket out of its event loop";

const SYSCALL_COST: &str = "accept sites come from the system call tracepoints, because this kernel \
     refuses fexit programs, or (before 5.17) does not tell them a function's result; while attached \
     they cost every system call of the machine about 50 ns (--accept-hook none goes without)";

impl Hook {
    pub fn status(&self, state: State) -> Status {
        Status {
            name: self.target,
            purpose: self.purpose,
            kind: self.kind.name(),
            state,
            on_demand: false,
        }
    }
}
