//! The layouts of real kernels. The fixtures are the BTF of Debian's kernels cut down to what the
//! table of fields names: offsets, sizes and nesting are as the kernel has them, members on no path
//! of the table are left out.

use std::collections::BTreeMap;

use tracer_common::{
    config,
    layout::{ABSENT, FIELDS},
};

use super::{Layout, LayoutError, VMLINUX};
use crate::probe::btf::Btf;

const LINUX_5_10: &[u8] = include_bytes!("fixtures/linux-5.10-x86_64.btf");
const LINUX_6_1: &[u8] = include_bytes!("fixtures/linux-6.1-x86_64.btf");
const LINUX_6_12: &[u8] = include_bytes!("fixtures/linux-6.12-x86_64.btf");

/// The link register and pstate are of another architecture. The others are younger than the fixtures, which hold
/// nothing else; the running kernel has them.
const OF_ARM64: [&str; 2] = ["OFF_REGS_LR", "OFF_REGS_PSTATE"];
const NOT_IN_FIXTURES: &[&str] = &[
    "OFF_CGROUP_KN",
    "OFF_ICSK_LRCVTIME",
    "OFF_KN_ID",
    "OFF_MM_EXE_FILE",
    "OFF_MM_START_STACK",
    "OFF_PIDNS_INUM",
    "OFF_PID_FIRST",
    "OFF_PID_LEVEL",
    "OFF_PID_SECOND",
    "OFF_REGS_ARG1",
    "OFF_REGS_ARG2",
    "OFF_REGS_ARG3",
    "OFF_REGS_ARG4",
    "OFF_REGS_ARG5",
    "OFF_REGS_LR",
    "OFF_REGS_PSTATE",
    "OFF_SK_CGROUP",
    "OFF_TASK_EXIT_CODE",
    "OFF_TASK_PID_STRUCT",
    "OFF_TASK_STATUS",
    "OFF_TASK_TP",
    "OFF_UPID_NR",
    "OFF_UPID_NS",
];

fn offsets(data: &[u8]) -> BTreeMap<&'static str, u32> {
    Layout::from_btf(data)
        .unwrap()
        .offsets
        .into_iter()
        .collect()
}

fn word(data: &[u8], at: usize) -> usize {
    u32::from_ne_bytes(data[at..at + 4].try_into().unwrap()) as usize
}

/// Where the types use a name of the string section.
fn uses(data: &[u8], name: &str) -> Vec<usize> {
    let header = word(data, 4);
    let (types, len) = (header + word(data, 8), word(data, 12));
    let strings = header + word(data, 16);
    let needle = format!("\0{name}\0");
    let offset = 1 + data[strings..]
        .windows(needle.len())
        .position(|window| window == needle.as_bytes())
        .unwrap();
    (types..types + len)
        .step_by(4)
        .filter(|at| word(data, *at) == offset)
        .collect()
}

/// The fixture with one member or structure called otherwise.
fn renamed(data: &[u8], from: &str, to: &str) -> Vec<u8> {
    let uses = uses(data, from);
    assert_eq!(uses.len(), 1, "{from} is the name of one thing");
    let mut data = data.to_vec();
    let len = word(&data, 20) as u32;
    data.extend(to.as_bytes());
    data.push(0);
    let longer = len + to.len() as u32 + 1;
    data[20..24].copy_from_slice(&longer.to_ne_bytes());
    data[uses[0]..uses[0] + 4].copy_from_slice(&len.to_ne_bytes());
    data
}

/// What cannot have moved has not; x86-64 has no `regs[]`.
#[test]
fn fields_lie_where_each_kernel_has_them() {
    for data in [LINUX_5_10, LINUX_6_1, LINUX_6_12] {
        let at = offsets(data);
        // include/net/sock.h: struct sock_common has not moved these since 3.x.
        assert_eq!((at["OFF_SKC_DADDR"], at["OFF_SKC_SADDR"]), (0, 4));
        assert_eq!((at["OFF_SKC_DPORT"], at["OFF_SKC_NUM"]), (12, 14));
        assert_eq!((at["OFF_SKC_FAMILY"], at["OFF_SKC_STATE"]), (16, 18));
        assert_eq!(at["OFF_SKC_V6_SADDR"], at["OFF_SKC_V6_DADDR"] + 16);
        // arch/x86/include/asm/ptrace.h: struct pt_regs.
        assert_eq!(
            (at["OFF_REGS_PC"], at["OFF_REGS_SP"], at["OFF_REGS_FP"]),
            (128, 152, 32)
        );
        assert_eq!(at["OFF_REGS_LR"], ABSENT);
        let absent = at.iter().filter(|(_, offset)| **offset == ABSENT);
        let absent: Vec<_> = absent.map(|(name, _)| *name).collect();
        assert_eq!(absent, NOT_IN_FIXTURES);
    }
}

/// These have moved; an offset that was compiled in would read something else.
#[test]
fn offsets_differ_between_kernels() {
    let (old, newer) = (offsets(LINUX_5_10), offsets(LINUX_6_12));
    for moved in [
        "OFF_SK_ERR",
        "OFF_TP_COPIED_SEQ",
        "OFF_TASK_COMM",
        "OFF_FILE_INODE",
    ] {
        assert_ne!(old[moved], newer[moved], "{moved}");
    }
}

/// `nonblock` left `tcp_recvmsg` in 5.19 (and `addr_len` after 6.12).
#[test]
fn the_arguments_of_tcp_recvmsg_are_counted() {
    let args = |data| Layout::from_btf(data).unwrap().recvmsg_args;
    assert_eq!([LINUX_5_10, LINUX_6_1, LINUX_6_12].map(args), [6, 5, 5]);
}

#[test]
fn helpers_are_gated_by_what_the_kernel_lists() {
    let gates = |data| {
        let layout = Layout::from_btf(data).unwrap();
        [
            config::HAS_COOKIE,
            config::HAS_REGS,
            config::HAS_SOCK_FROM_FILE,
        ]
        .map(|g| layout.gate(g))
    };
    assert_eq!(gates(LINUX_5_10), [false; 3]);
    assert_eq!(gates(LINUX_6_1), [true; 3]);
    assert_eq!(gates(LINUX_6_12), [true; 3]);
}

/// `sock_recv_length` and `sock_send_length` came in 6.3.
#[test]
fn tracepoints_are_known_by_their_typedefs() {
    let has = |data, name| Btf::parse(data).unwrap().has_tracepoint(name);
    for data in [LINUX_5_10, LINUX_6_1, LINUX_6_12] {
        assert!(has(data, "inet_sock_set_state"));
        assert!(has(data, "tcp_destroy_sock"));
        assert!(!has(data, "sock_length"));
    }
    for name in ["sock_recv_length", "sock_send_length"] {
        assert_eq!(
            [LINUX_5_10, LINUX_6_1, LINUX_6_12].map(|data| has(data, name)),
            [false, false, true]
        );
    }
}

#[test]
fn a_missing_required_field_is_named_with_its_structure() {
    let data = renamed(LINUX_6_12, "copied_seq", "copied_sequence");
    let error = Layout::from_btf(&data).unwrap_err();
    assert!(matches!(
        error,
        LayoutError::MissingField("tcp_sock", "copied_seq")
    ));
    assert_eq!(
        error.to_string(),
        "this kernel's struct tcp_sock has no field copied_seq"
    );
    // The whole structure may be missing as well.
    let data = renamed(LINUX_6_12, "fdtable", "fd_table");
    let error = Layout::from_btf(&data).unwrap_err();
    assert!(matches!(error, LayoutError::MissingField("fdtable", "fd")));
}

#[test]
fn a_missing_optional_field_is_absent_and_moves_nothing_else() {
    let mut expected = offsets(LINUX_6_12);
    expected.insert("OFF_TP_MSTAMP", ABSENT);
    assert_eq!(
        offsets(&renamed(LINUX_6_12, "tcp_mstamp", "tcp_stamp")),
        expected
    );
}

/// The start of a task was called `real_start_time` until 5.4.
#[test]
fn the_older_name_of_a_field_is_found() {
    let data = renamed(LINUX_5_10, "start_boottime", "real_start_time");
    assert_eq!(offsets(&data), offsets(LINUX_5_10));
}

/// Whichever required field is missing, the error names it.
#[test]
fn every_required_field_is_required() {
    let simple = |path: &str| !path.contains(['|', '.']);
    let required = FIELDS
        .iter()
        .filter(|field| field.required && simple(field.path));
    // A name that stands for several things cannot be taken from one of them here.
    let single: Vec<_> = required
        .filter(|field| uses(LINUX_6_12, field.path).len() == 1)
        .collect();
    assert!(single.len() > 20, "{}", single.len());
    for field in single {
        let error = Layout::from_btf(&renamed(LINUX_6_12, field.path, "gone")).unwrap_err();
        let LayoutError::MissingField(strukt, path) = error else {
            panic!("{error}");
        };
        assert_eq!((strukt, path), (field.strukt, field.path));
    }
}

#[test]
fn a_cut_or_damaged_fixture_is_an_error_not_a_panic() {
    for len in 0..LINUX_6_12.len() {
        assert!(
            Layout::from_btf(&LINUX_6_12[..len]).is_err(),
            "cut at {len}"
        );
    }
    for at in 0..LINUX_6_12.len() {
        let mut data = LINUX_6_12.to_vec();
        data[at] ^= 0xff;
        let _any = Layout::from_btf(&data);
    }
}

/// Where this kernel shows its BTF, everything that is required is there.
#[test]
fn the_running_kernel_has_a_layout() {
    if !std::path::Path::new(VMLINUX).exists() {
        let refused = Layout::of_running_kernel();
        assert!(matches!(refused, Err(LayoutError::Unreadable(_))));
        return;
    }
    let (layout, _) = Layout::of_running_kernel().unwrap();
    assert_eq!(layout.offsets.len(), FIELDS.len());
    let at: BTreeMap<_, _> = layout.offsets.into_iter().collect();
    for field in NOT_IN_FIXTURES
        .iter()
        .filter(|name| !OF_ARM64.contains(name))
    {
        assert_ne!(at[field], ABSENT, "{field}");
    }
    assert_eq!((at["OFF_SKC_DPORT"], at["OFF_SKC_NUM"]), (12, 14));
    assert!((4..=6).contains(&layout.recvmsg_args));
    let arguments = ["0", "1", "2", "3", "4", "5"].map(|n| at[format!("OFF_REGS_ARG{n}").as_str()]);
    // arch/x86/include/asm/ptrace.h: di, si, dx, r10, r8, r9.
    #[cfg(target_arch = "x86_64")]
    assert_eq!(arguments, [112, 104, 96, 56, 72, 64]);
    assert!(!arguments.contains(&ABSENT));
}
