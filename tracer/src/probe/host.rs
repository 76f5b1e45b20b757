//! What can be read of this host without privilege: kernel, lockdown, mounts, clocks.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::{
    mounts::Mounts,
    pidns,
    tracefs::{Absence, Origin, Tracefs},
};

pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// How far the kernel defends itself against root (security/lockdown/lockdown.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    None,
    /// Refuses what would change the running kernel; reading it stays allowed.
    Integrity,
    /// Also refuses reads of kernel memory: no tracing program loads.
    Confidentiality,
    /// securityfs is not mounted, so nobody says.
    Unknown,
}

impl Lockdown {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Host {
    pub kernel: String,
    pub arch: String,
    pub boot_id: Option<String>,
    pub lockdown: Lockdown,
    pub perf_event_paranoid: Option<i32>,
    /// `kernel.unprivileged_bpf_disabled`: 0 allows it, 1 and 2 do not.
    pub unprivileged_bpf_disabled: Option<i32>,
    pub btf: bool,
    pub tracefs: Result<Origin, Absence>,
    /// Where it is mounted.
    pub cgroup2: Option<PathBuf>,
    /// Capabilities held in a user namespace of one's own do not reach the kernel's own objects.
    pub in_user_namespace: bool,
    /// Processes outside of it are not shown, neither by /proc nor by the iterators.
    pub in_pid_namespace: bool,
    /// `kernel.yama.ptrace_scope`: 3 forbids reading the memory of other processes to everyone.
    pub ptrace_scope: Option<i32>,
    pub clock: Clock,
}

/// Inode number of the first namespace (`PROC_USER_INIT_INO` in the kernel's headers; the same since 3.8).
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

impl Host {
    pub fn probe() -> Self {
        let uname = rustix::system::uname();
        let mounts = Mounts::of_this_process();
        let lockdown = match mounts.first("securityfs") {
            Some(at) => match fs::read_to_string(at.join("lockdown")) {
                Ok(text) => lockdown(&text),
                // securityfs without the file: a kernel built without lockdown.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Lockdown::None,
                Err(_) => Lockdown::Unknown,
            },
            None => Lockdown::Unknown,
        };
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: uname.machine().to_string_lossy().into_owned(),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            lockdown,
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            unprivileged_bpf_disabled: number("/proc/sys/kernel/unprivileged_bpf_disabled"),
            btf: Path::new(VMLINUX).exists(),
            tracefs: Tracefs::open().map(|tracefs| tracefs.origin),
            cgroup2: mounts.first("cgroup2"),
            in_user_namespace: !is_namespace("user", FIRST_USER_NAMESPACE),
            in_pid_namespace: !pidns::is_first(),
            ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
            clock: Clock::now(),
        }
    }
}

/// Ties the kernel's clocks to the wall clock, as it stood when this was taken: an adjustment of the
/// wall clock afterwards does not move times already reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since 1970 when `CLOCK_MONOTONIC` was zero.
    pub wall_at_mono_zero: i64,
    /// The same for `CLOCK_BOOTTIME`, which also counts while the machine sleeps.
    pub wall_at_boot_zero: i64,
}

impl Clock {
    pub fn now() -> Self {
        Self {
            wall_at_mono_zero: wall_at_zero(ClockId::Monotonic),
            wall_at_boot_zero: wall_at_zero(ClockId::Boottime),
        }
    }

    /// Of an event: `bpf_ktime_get_ns`.
    pub fn wall(&self, mono_ns: u64) -> Timestamp {
        timestamp(self.wall_at_mono_zero, mono_ns)
    }

    /// Of the start of a process.
    pub fn wall_of_boot(&self, boot_ns: u64) -> Timestamp {
        timestamp(self.wall_at_boot_zero, boot_ns)
    }
}

pub fn mono_now_ns() -> u64 {
    nanoseconds(ClockId::Monotonic) as u64
}

/// What this process has used of CPUs.
pub fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

pub fn boot_now_ns() -> u64 {
    nanoseconds(ClockId::Boottime) as u64
}

fn timestamp(zero: i64, nanoseconds: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(zero) + i128::from(nanoseconds)).unwrap_or(Timestamp::MAX)
}

/// The narrowest of a few readings of one clock between two of the other: another task may run in
/// between, but hardly every time.
fn wall_at_zero(clock: ClockId) -> i64 {
    let readings = (0..5).map(|_| {
        let before = nanoseconds(clock);
        let wall = nanoseconds(ClockId::Realtime);
        let after = nanoseconds(clock);
        (after - before, wall - before.midpoint(after))
    });
    readings.min().map_or(0, |(_, offset)| offset)
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Without /proc there is no telling; the first namespace is by far the likelier.
fn is_namespace(kind: &str, inode: u64) -> bool {
    fs::metadata(format!("/proc/self/ns/{kind}")).map_or(true, |meta| meta.ino() == inode)
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

fn number(path: &str) -> Option<i32> {
    line(path)?.parse().ok()
}

/// The file lists all modes and brackets the current one: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Lockdown {
    let current = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    match current.map(|(mode, _)| mode) {
        Some("none") => Lockdown::None,
        Some("integrity") => Lockdown::Integrity,
        Some("confidentiality") => Lockdown::Confidentiality,
        _ => Lockdown::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_the_bracketed_word() {
        assert_eq!(
            lockdown("none [integrity] confidentiality\n"),
            Lockdown::Integrity
        );
        assert_eq!(lockdown("[none] integrity confidentiality"), Lockdown::None);
        assert_eq!(
            lockdown("none integrity [confidentiality]"),
            Lockdown::Confidentiality
        );
        assert_eq!(lockdown("]["), Lockdown::Unknown);
        assert_eq!(lockdown(""), Lockdown::Unknown);
    }

    #[test]
    fn the_clock_agrees_with_the_wall() {
        let clock = Clock::now();
        for shown in [clock.wall(mono_now_ns()), clock.wall_of_boot(boot_now_ns())] {
            let apart = Timestamp::now().duration_since(shown).abs();
            assert!(apart.as_millis() < 100, "{apart:?}");
        }
        assert!(clock.wall(u64::MAX).as_second() > 0);
    }

    #[test]
    fn this_host_can_be_probed() {
        let host = Host::probe();
        assert!(!host.kernel.is_empty() && !host.arch.is_empty());
    }
}
