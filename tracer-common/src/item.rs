//! One fixed-size record per socket in the streams of the iterators.

use crate::{endpoint::Endpoints, wire};

/// `sk_socket` is set: accepted, or opened by a process.
pub const ITEM_HAS_SOCKET: u8 = 1;
/// `SOCK_DEAD`: closed by its process, only the kernel finishes it.
pub const ITEM_DEAD: u8 = 2;
/// From `iter/task_file`: `tgid`, `fd`, `comm` and `start_boot` name a holder.
pub const ITEM_HELD: u8 = 4;

pub const UNKNOWN: u32 = u32::MAX;

wire! {
    pub struct SocketItem {
        pub cookie: u64,
        /// 0 when no file refers to the socket, as in the accept queue.
        pub inode: u64,
        /// Last packet processed, `CLOCK_MONOTONIC` microseconds (`tcp_sock.tcp_mstamp`).
        pub last_packet_us: u64,
        /// `jiffies_64` when the record was made.
        pub jiffies: u64,
        /// Jiffies since data came in last, or since the connection was established
        /// (`inet_connection_sock.icsk_ack.lrcvtime`, 32 bits of jiffies); [`UNKNOWN`] where that cannot be told.
        pub since_data: u32,
        /// Sequence numbers up to which the program has read and written: they move when it does.
        pub copied_seq: u32,
        pub write_seq: u32,
        pub reserved_too: u32,
        pub endpoints: Endpoints,
        /// LISTEN: connections waiting for `accept()`. Otherwise unread bytes, the FIN counting one.
        pub recv_q: u32,
        /// LISTEN: the backlog's limit. Otherwise bytes not yet acknowledged by the peer.
        pub send_q: u32,
        pub netns: u32,
        pub state: u8,
        pub shutdown: u8,
        pub flags: u8,
        pub reserved: u8,
        pub start_boot: u64,
        pub tgid: u32,
        pub fd: u32,
        pub comm: [u8; 16],
    }
}

const _: () = assert!(size_of::<SocketItem>() == 24 + 24 + 40 + 16 + 16 + 16);
