//! Records in the two ring buffers. Every record starts with a [`Header`]; sizes are constant per
//! kind because the verifier wants constant reservations.

use crate::{
    endpoint::Endpoints,
    runtime::{Activation, MAX_FRAME_BYTES, MAX_MANAGED, MAX_SAMPLED},
    stack_key::MAX_STEPS,
    table::{Slot, SlotRecord},
    wire,
};

pub const KIND_TRANSITION: u32 = 1;
pub const KIND_DESTROYED: u32 = 2;
pub const KIND_EVICTION: u32 = 3;
pub const KIND_STACK: u32 = 4;
pub const KIND_PROCESS: u32 = 5;
pub const KIND_EXECUTED: u32 = 6;
pub const KIND_EPOLL: u32 = 7;
pub const KIND_SAMPLED: u32 = 8;

/// The id of a process or thread that the tracer's /proc does not show: it is outside of its pid namespace.
/// No process has it (`pid_max` is at most 2^22). Several are not told apart.
pub const OUTSIDE: u32 = u32::MAX;

wire! {
    pub struct Header {
        pub kind: u32,
        /// Size of the whole record, this header included.
        pub len: u32,
        /// `CLOCK_MONOTONIC`, nanoseconds.
        pub at: u64,
    }
}

/// `Transition::flags`: the kernel context proves that `current` acts on this socket.
pub const FLAG_PROCESS: u8 = 1;
/// The acting task is exiting (`PF_EXITING`): the kernel closes its files, not its code.
pub const FLAG_EXITING: u8 = 2;
/// `SOCK_DEAD`: no file refers to the socket any more.
pub const FLAG_DEAD: u8 = 4;
/// The socket has a `struct socket`, so it was accepted or opened by a process.
pub const FLAG_HAS_SOCKET: u8 = 8;
/// It leaves `CLOSE_WAIT`, its opening was seen, and no read or write since.
pub const FLAG_UNTOUCHED: u8 = 16;
/// The exiting task's process was ended by a signal (`task_struct.exit_code`, set before its files are closed).
pub const FLAG_KILLED: u8 = 32;

wire! {
    /// One `inet_sock_set_state`, or the destruction of a socket (`new` is then the last state).
    pub struct Transition {
        pub header: Header,
        pub cookie: u64,
        /// When the old state began, from the socket table; 0 when it is not known.
        pub since: u64,
        /// Key of the user stack of the acting task; 0 when there is none.
        pub stack: u64,
        pub endpoints: Endpoints,
        pub netns: u32,
        /// Valid with [`FLAG_PROCESS`] only.
        pub tgid: u32,
        pub tid: u32,
        pub old: u8,
        pub new: u8,
        pub flags: u8,
        /// `sk_shutdown` before the transition.
        pub shutdown: u8,
        pub comm: [u8; 16],
        /// Bytes that nobody has read, the FIN among them.
        pub recv_q: u32,
        pub reserved: u32,
    }
}

wire! {
    /// A socket that lost its place in the table to another; nothing it knew is lost.
    pub struct Eviction {
        pub header: Header,
        pub slot: Slot,
        pub record: SlotRecord,
    }
}

pub const PROCESS_EXEC: u32 = 1;
pub const PROCESS_EXIT: u32 = 2;

wire! {
    /// A process whose stacks were copied has replaced its program or ended.
    pub struct Process {
        pub header: Header,
        pub tgid: u32,
        pub what: u32,
    }
}

wire! {
    /// A process of a followed tree has replaced its program. Comes with the stack copies, which wake the
    /// reader: it may not live long.
    pub struct Executed {
        pub header: Header,
        /// Start of the process, `CLOCK_BOOTTIME` nanoseconds.
        pub start_boot: u64,
        pub tgid: u32,
        pub reserved: u32,
        pub comm: [u8; 16],
    }
}

wire! {
    /// A successful `epoll_ctl` on a TCP socket, of a process whose event loops are watched.
    pub struct EpollControl {
        pub header: Header,
        pub cookie: u64,
        /// Key of the user stack; 0 when there was none to read, and where the bits asked for tell of a FIN.
        pub stack: u64,
        pub tgid: u32,
        pub tid: u32,
        /// Descriptor of the epoll set.
        pub set: u32,
        /// `EPOLL_CTL_*`.
        pub operation: u32,
        /// `EPOLL*` bits asked for; 0 at a removal.
        pub events: u32,
        pub reserved: u32,
    }
}

/// `EPOLL_CTL_*` of include/uapi/linux/eventpoll.h.
pub const EPOLL_ADD: u32 = 1;
pub const EPOLL_DEL: u32 = 2;
pub const EPOLL_MOD: u32 = 3;

/// EPOLLIN, EPOLLRDNORM, EPOLLRDHUP of include/uapi/linux/eventpoll.h: what the arrival of a FIN raises
/// (`net/ipv4/tcp.c:tcp_poll`).
pub const TELLS_OF_FIN: u32 = 0x1 | 0x40 | 0x2000;

pub const PAGE: usize = 4096;
/// Pages of user stack in a copy: the page that holds `sp` and the four above it, so at least
/// 16 KiB are covered wherever in its page `sp` lies.
pub const STACK_PAGES: usize = 5;

wire! {
    /// Registers at the system call and the memory above the stack pointer.
    pub struct StackCopy {
        pub header: Header,
        /// See [`crate::stack_key`].
        pub key: u64,
        /// Of the address space: see [`crate::unwind::layout`].
        pub layout: u64,
        pub pc: u64,
        pub sp: u64,
        pub fp: u64,
        /// Link register; 0 on architectures without one.
        pub lr: u64,
        /// Start of the process, `CLOCK_BOOTTIME` nanoseconds; with `tgid` the process identity.
        pub start_boot: u64,
        pub tgid: u32,
        pub tid: u32,
        pub comm: [u8; 16],
        /// Whole pages present in `pages`; the first is valid from `sp % PAGE` on.
        pub valid_pages: u32,
        /// An `OPERATION_*` kind: what the task was doing.
        pub kind: u32,
        /// A `runtime::MANAGED_*`: what is known of the frames of a language runtime.
        pub managed: u32,
        /// Frames in `activations`.
        pub managed_frames: u32,
        /// The return addresses that the key was made of, innermost first, as many as it says: they may lie further up
        /// than what was copied. Read again for the copy, so to be compared with the key.
        pub walked: [u64; MAX_STEPS as usize],
        /// Where Java was left: code address, stack pointer and frame pointer; 0 where it was not.
        pub managed_from: [u64; 3],
        /// Innermost first. Where the walk was cut among frames on the heap three without code come last: code address, stack
        /// pointer and frame pointer of where that was.
        pub activations: [Activation; MAX_MANAGED],
        pub pages: [u8; STACK_PAGES * PAGE],
    }
}

wire! {
    /// What a thread executes of an interpreter, at a moment of its time on a CPU of which registers and stack are told
    /// elsewhere.
    pub struct Sampled {
        pub header: Header,
        pub tgid: u32,
        pub tid: u32,
        /// One of `runtime::MANAGED_*`, but neither unknown nor cut.
        pub managed: u32,
        /// Frames in `activations`.
        pub managed_frames: u32,
        /// Innermost first.
        pub activations: [Activation; MAX_SAMPLED],
        /// Where the kernel program reads each frame. Means nothing.
        pub window: [u64; (MAX_FRAME_BYTES / 8) as usize],
    }
}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<Transition>() == 16 + 24 + 40 + 12 + 4 + 16 + 8);
    assert!(size_of::<Eviction>() == 16 + 16 + 192);
    assert!(
        size_of::<StackCopy>()
            == 16
                + 56
                + 8
                + 16
                + 8
                + 8
                + 24
                + 8 * MAX_STEPS as usize
                + 16 * MAX_MANAGED
                + STACK_PAGES * PAGE
    );
    assert!(size_of::<Sampled>() == 16 + 16 + 16 * MAX_SAMPLED + MAX_FRAME_BYTES as usize);
    assert!(size_of::<Process>() == 24);
    assert!(size_of::<Executed>() == 48);
};
