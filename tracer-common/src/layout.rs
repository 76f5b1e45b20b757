//! The one table of kernel fields. The kernel side makes a global of each, the user side resolves
//! each from the running kernel's BTF before loading. Offsets are never compiled in.

/// The field does not exist on the running kernel.
pub const ABSENT: u32 = u32::MAX;

/// Calls `$with!` with `GLOBAL_NAME = "struct" "path" required|optional;` lines. A path goes through
/// anonymous members by itself; `a|b` tries both; `regs[29]` indexes an array.
#[macro_export]
macro_rules! kernel_fields {
    ($with:ident) => {
        $with! {
            OFF_SKC_FAMILY = "sock" "__sk_common.skc_family" required;
            OFF_SKC_STATE = "sock" "__sk_common.skc_state" required;
            OFF_SKC_NUM = "sock" "__sk_common.skc_num" required;
            OFF_SKC_DPORT = "sock" "__sk_common.skc_dport" required;
            OFF_SKC_DADDR = "sock" "__sk_common.skc_daddr" required;
            OFF_SKC_SADDR = "sock" "__sk_common.skc_rcv_saddr" required;
            OFF_SKC_V6_DADDR = "sock" "__sk_common.skc_v6_daddr" optional;
            OFF_SKC_V6_SADDR = "sock" "__sk_common.skc_v6_rcv_saddr" optional;
            OFF_SKC_NET = "sock" "__sk_common.skc_net.net" optional;
            OFF_SKC_COOKIE = "sock" "__sk_common.skc_cookie" required;
            OFF_SKC_FLAGS = "sock" "__sk_common.skc_flags" required;
            OFF_SK_PROTOCOL = "sock" "sk_protocol" required;
            OFF_SK_SHUTDOWN = "sock" "sk_shutdown" required;
            OFF_SK_SOCKET = "sock" "sk_socket" required;
            OFF_SK_ERR = "sock" "sk_err" required;
            OFF_SK_ACK_BACKLOG = "sock" "sk_ack_backlog" required;
            OFF_SK_MAX_BACKLOG = "sock" "sk_max_ack_backlog" required;
            OFF_SK_CGROUP = "sock" "sk_cgrp_data.cgroup" optional;
            OFF_CGROUP_KN = "cgroup" "kn" optional;
            OFF_KN_ID = "kernfs_node" "id" optional;
            OFF_NET_INUM = "net" "ns.inum" optional;
            OFF_INET_SPORT = "inet_sock" "inet_sport" required;
            OFF_TP_RCV_NXT = "tcp_sock" "rcv_nxt" required;
            OFF_TP_COPIED_SEQ = "tcp_sock" "copied_seq" required;
            OFF_TP_WRITE_SEQ = "tcp_sock" "write_seq" required;
            OFF_TP_SND_UNA = "tcp_sock" "snd_una" required;
            OFF_TP_MSTAMP = "tcp_sock" "tcp_mstamp" optional;
            OFF_ICSK_LRCVTIME = "inet_connection_sock" "icsk_ack.lrcvtime" optional;
            OFF_SOCKET_SK = "socket" "sk" required;
            OFF_SOCKET_FILE = "socket" "file" required;
            OFF_FILE_INODE = "file" "f_inode" required;
            OFF_FILE_PRIVATE = "file" "private_data" required;
            OFF_INODE_INO = "inode" "i_ino" required;
            OFF_INODE_MODE = "inode" "i_mode" required;
            OFF_TASK_FLAGS = "task_struct" "flags" required;
            OFF_TASK_MM = "task_struct" "mm" required;
            OFF_TASK_LEADER = "task_struct" "group_leader" required;
            OFF_TASK_START = "task_struct" "start_boottime|real_start_time" required;
            OFF_TASK_TGID = "task_struct" "tgid" required;
            OFF_TASK_PID = "task_struct" "pid" required;
            OFF_TASK_PID_STRUCT = "task_struct" "thread_pid" optional;
            OFF_PID_LEVEL = "pid" "level" optional;
            OFF_PID_FIRST = "pid" "numbers" optional;
            OFF_PID_SECOND = "pid" "numbers[1]" optional;
            OFF_UPID_NR = "upid" "nr" optional;
            OFF_UPID_NS = "upid" "ns" optional;
            OFF_PIDNS_INUM = "pid_namespace" "ns.inum" optional;
            OFF_TASK_COMM = "task_struct" "comm" required;
            OFF_TASK_STATE = "task_struct" "__state|state" required;
            OFF_TASK_EXIT_STATE = "task_struct" "exit_state" required;
            OFF_TASK_EXIT_CODE = "task_struct" "exit_code" optional;
            OFF_TASK_ON_CPU = "task_struct" "on_cpu" optional;
            OFF_TASK_NVCSW = "task_struct" "nvcsw" required;
            OFF_TASK_NIVCSW = "task_struct" "nivcsw" required;
            OFF_TASK_EXEC_START = "task_struct" "se.exec_start" optional;
            OFF_TASK_CFS_RQ = "task_struct" "se.cfs_rq" optional;
            OFF_CFS_RQ_RQ = "cfs_rq" "rq" optional;
            OFF_RQ_CLOCK = "rq" "clock" optional;
            OFF_RQ_CLOCK_TASK = "rq" "clock_task" optional;
            OFF_TASK_FILES = "task_struct" "files" required;
            OFF_FILES_FDT = "files_struct" "fdt" required;
            OFF_FDT_FD = "fdtable" "fd" required;
            OFF_FDT_MAX = "fdtable" "max_fds" required;
            OFF_TASK_TP = "task_struct" "thread.fsbase|thread.uw.tp_value" optional;
            OFF_MM_START_CODE = "mm_struct" "start_code" required;
            OFF_MM_START_STACK = "mm_struct" "start_stack" optional;
            OFF_MM_EXE_FILE = "mm_struct" "exe_file" optional;
            OFF_REGS_PC = "pt_regs" "ip|pc" optional;
            OFF_REGS_SP = "pt_regs" "sp" optional;
            OFF_REGS_FP = "pt_regs" "bp|regs[29]" optional;
            OFF_REGS_LR = "pt_regs" "regs[30]" optional;
            OFF_REGS_CALL = "pt_regs" "orig_ax|syscallno" optional;
            OFF_REGS_ARG0 = "pt_regs" "di|orig_x0" optional;
            OFF_REGS_ARG1 = "pt_regs" "si|regs[1]" optional;
            OFF_REGS_ARG2 = "pt_regs" "dx|regs[2]" optional;
            OFF_REGS_ARG3 = "pt_regs" "r10|regs[3]" optional;
            OFF_REGS_ARG4 = "pt_regs" "r8|regs[4]" optional;
            OFF_REGS_ARG5 = "pt_regs" "r9|regs[5]" optional;
            OFF_REGS_PSTATE = "pt_regs" "pstate" optional;
            OFF_TASK_STATUS = "task_struct" "thread_info.status" optional;
        }
    };
}

/// One line of the table on the user side.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub global: &'static str,
    pub strukt: &'static str,
    pub path: &'static str,
    pub required: bool,
}

macro_rules! table {
    ($($global:ident = $strukt:literal $path:literal $need:ident;)*) => {
        pub const FIELDS: &[Field] = &[$(Field {
            global: stringify!($global),
            strukt: $strukt,
            path: $path,
            required: matches!(stringify!($need).as_bytes(), b"required"),
        },)*];
    };
}
kernel_fields!(table);
