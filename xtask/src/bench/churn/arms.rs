//! The arms: what runs beside the load.

use crate::bench::tool::Kind;

pub struct Arm {
    pub name: &'static str,
    /// What a reader of the table should know.
    pub shown: &'static str,
    pub kind: Option<Kind>,
    /// It has hooks on the path of reads and writes, so those are measured too.
    pub on_data_path: bool,
}

pub const NONE: &str = "none";
pub const CONTROL: &str = "control";
pub const FLOOR: &str = "floor";
pub const WATCH: &str = "watch";
pub const FLOOR_NO_ACCEPT: &str = "floor-no-accept";
pub const WATCH_NO_ACCEPT: &str = "watch-no-accept";
pub const TRACE: &str = "trace";
pub const TCPSTATES: &str = "tcpstates";
pub const TCPLIFE: &str = "tcplife";

pub const ARMS: &[Arm] = &[
    Arm {
        name: NONE,
        shown: "nothing attached",
        kind: None,
        on_data_path: true,
    },
    Arm {
        name: CONTROL,
        shown: "nothing attached, again: what the method cannot tell apart",
        kind: None,
        on_data_path: true,
    },
    Arm {
        name: FLOOR,
        shown: "empty programs on the hooks of `watch`",
        kind: Some(Kind::Floor { accept_hook: true }),
        on_data_path: true,
    },
    Arm {
        name: WATCH,
        shown: "`sockleak watch`",
        kind: Some(Kind::Sockleak(&["watch", "--json", "--duration", "1h"])),
        on_data_path: true,
    },
    Arm {
        name: FLOOR_NO_ACCEPT,
        shown: "empty programs, without the accept hook",
        kind: Some(Kind::Floor { accept_hook: false }),
        on_data_path: true,
    },
    Arm {
        name: WATCH_NO_ACCEPT,
        shown: "`sockleak watch --accept-hook none`",
        kind: Some(Kind::Sockleak(&[
            "watch",
            "--json",
            "--duration",
            "1h",
            "--accept-hook",
            "none",
        ])),
        on_data_path: true,
    },
    Arm {
        name: TRACE,
        shown: "`sockleak trace` to a file",
        kind: Some(Kind::Sockleak(&["trace"])),
        on_data_path: false,
    },
    Arm {
        name: TCPSTATES,
        shown: "`tcpstates` (libbpf-tools) to a file",
        kind: Some(Kind::Peer("tcpstates")),
        on_data_path: false,
    },
    Arm {
        name: TCPLIFE,
        shown: "`tcplife` (libbpf-tools) to a file",
        kind: Some(Kind::Peer("tcplife")),
        on_data_path: false,
    },
];
