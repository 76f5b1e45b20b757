//! What this process gives up. User, files and network before there are threads, since those belong to a
//! thread; system calls afterwards, for all threads at once.

use std::fs;

use rustix::process::Resource;
use seccompiler::apply_filter_all_threads;

use crate::{
    confine::{
        self,
        seccomp::{Rule, no_code, program},
    },
    serve::message::Missing,
};

/// Stacks of threads and the arenas of the allocator are mapped, not used.
const MAX_MAPPED: u64 = 2 << 30;
/// Connections, and some.
pub(super) const MAX_DESCRIPTORS: u64 = 4096;

const CALLS: &[libc::c_long] = &[
    // Connections.
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_fcntl,
    // Non-blocking mode of what was accepted.
    libc::SYS_ioctl,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    // Memory, threads, time.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
];
/// What aarch64 never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

/// What could not be had.
pub(super) fn before_threads() -> Vec<Missing> {
    // When memory runs out, this process is to go, not the tracer or what it watches.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let bounded = confine::limit(&[
        (Resource::As, MAX_MAPPED),
        (Resource::Fsize, 0),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ]);
    // Only who started as root can; landlock does more, where there is one.
    let _ = confine::see_own_descriptors_only();
    let unprivileged = confine::become_unprivileged();
    let _ = confine::landlock();
    [(Missing::User, unprivileged), (Missing::Limits, bounded)]
        .into_iter()
        .filter(|(_, holds)| !holds)
        .map(|(missing, _)| missing)
        .collect()
}

/// What could not be had, found out by trying.
pub(super) fn after_threads() -> Vec<Missing> {
    let filtered = filter().is_some_and(|program| apply_filter_all_threads(&program).is_ok());
    let mut missing = Vec::new();
    if confine::opens_files() {
        missing.push(Missing::Files);
    }
    if !filtered || confine::makes_sockets() || confine::opens_for_writing() {
        missing.push(Missing::SystemCalls);
    }
    missing
}

fn filter() -> Option<seccompiler::BpfProgram> {
    let plain = CALLS.iter().chain(OLDER).copied();
    let mut rules: Vec<Rule> = plain.map(|number| (number, Vec::new())).collect();
    rules.push((libc::SYS_mmap, vec![no_code(2)?]));
    rules.push((libc::SYS_mprotect, vec![no_code(2)?]));
    program(rules)
}
