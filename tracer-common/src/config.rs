//! Load-time settings, patched into frozen globals so that the verifier drops what is off.

/// Follow every transition (`trace`) instead of stuck sockets only.
pub const MODE: &str = "MODE";
pub const MODE_WATCH: u32 = 0;
pub const MODE_TRACE: u32 = 1;

/// Nanoseconds a socket must have been in `CLOSE_WAIT` or CLOSE before leaving it is worth a record.
pub const GRACE: &str = "GRACE_NS";
/// Number of sets in the table minus one (a power of two minus one).
pub const SET_MASK: &str = "SET_MASK";
/// Ports to follow, local or remote; unused places are 0, all 0 follows every port.
pub const PORTS: &str = "PORTS";
pub const MAX_PORTS: usize = 8;
/// [`BY_PID_ALSO`]: only the processes in map `TARGETS` (and their children) leave operations.
/// [`BY_PID_TREE`]: and only sockets of theirs are remembered, for nothing of theirs is older than the tracer.
pub const BY_PID: &str = "BY_PID";
pub const BY_PID_ALSO: u32 = 1;
pub const BY_PID_TREE: u32 = 2;
/// Nanoseconds a socket must have been in `CLOSE_WAIT` or CLOSE before its end by an exit is worth a record.
pub const EXIT_AGE: &str = "EXIT_AGE_NS";
/// Inode number of the pid namespace that process ids are told in; 0 is the first, which takes no
/// translation.
pub const PID_NS: &str = "PID_NS";
/// 1: visits to `CLOSE_WAIT` are counted by the cgroup of the socket (map `VISITS`).
pub const COUNT_VISITS: &str = "COUNT_VISITS";
/// Cgroups that are counted one by one; all others are [`OTHER_CGROUP`].
pub const MAX_CGROUPS: u32 = 4096;
/// No cgroup has this number; it also stands for sockets whose cgroup is not known.
pub const OTHER_CGROUP: u64 = 0;
/// Of one cgroup: sockets that came, nanoseconds that those stayed that have left, and 32 counts of them: bucket n
/// is below 2^(n-10) seconds.
pub type Visits = [u64; 34];
pub const VISITS_BUCKETS: usize = 32;

/// States the iterators report, one bit per state number.
pub const ITER_STATES: &str = "ITER_STATES";
/// Helpers this kernel offers to tracing programs; 0 removes the call.
pub const HAS_COOKIE: &str = "HAS_COOKIE";
pub const HAS_REGS: &str = "HAS_REGS";
pub const HAS_SOCK_FROM_FILE: &str = "HAS_SOCK_FROM_FILE";
/// Index of the result among the arguments of `tcp_recvmsg` as fexit sees them.
pub const RECVMSG_ARGS: &str = "RECVMSG_ARGS";

/// Stack copies per process: sustained rate and burst.
pub const STACKS_PER_SECOND: u64 = 50;
pub const STACKS_BURST: u64 = 200;
/// The stack of a whole key is copied again after this time, so a lost or ambiguous copy does not stay
/// so.
pub const STACK_REFRESH_NS: u64 = 60_000_000_000;
/// Calls that agree as far as their key is sure, and may differ further out, are copied one by one: so
/// many at once, and then one in this time.
pub const PART_BURST: u64 = 64;
pub const PART_REFRESH_NS: u64 = 20_000_000;

/// Processes whose event loops can be watched at once.
pub const MAX_LOOPS: u32 = 64;

/// Processes whose threads can be asked for at once.
pub const MAX_ASKED: u32 = 64;

/// Bit 63 marks a cookie made from the socket's address, where the kernel has no cookie to offer.
pub const PSEUDO_COOKIE: u64 = 1 << 63;
