//! The system calls that unwinding and naming take. Everything else is refused with EPERM, so that
//! what a library merely tries does not end the helper.

use seccompiler::{BpfProgram, apply_filter};

use crate::confine::seccomp::{Rule, exactly, no_code, program};

const PLAIN: &[libc::c_long] = &[
    // The channel, and the descriptors that come through it.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    // Private copies of symbols.
    libc::SYS_memfd_create,
    libc::SYS_write,
    libc::SYS_pwrite64,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    libc::SYS_futex,
    // Time and the end.
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
];
/// What aarch64 never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

/// False when this kernel has no filters.
pub(super) fn apply() -> bool {
    filter().is_some_and(|program| apply_filter(&program).is_ok())
}

fn filter() -> Option<BpfProgram> {
    let plain = PLAIN.iter().chain(OLDER).copied();
    let mut rules: Vec<Rule> = plain.map(|number| (number, Vec::new())).collect();
    rules.push((libc::SYS_mmap, vec![no_code(2)?]));
    rules.push((libc::SYS_mprotect, vec![no_code(2)?]));
    rules.push((
        libc::SYS_fcntl,
        vec![
            exactly(1, libc::F_DUPFD_CLOEXEC as u64)?,
            exactly(1, libc::F_GETFD as u64)?,
            exactly(1, libc::F_GETFL as u64)?,
        ],
    ));
    // blazesym takes its private copies by name, from the list of this process's descriptors. All
    // other files are kept away by other means: filters do not see names.
    let read_only = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
    rules.push((libc::SYS_openat, vec![exactly(2, read_only)?]));
    program(rules)
}
