//! What /proc tells of a process. Never its environment; its command line only when asked for.

use std::{io, path::Path};

use jiff::Timestamp;
use procfs::process::{LimitValue, Process as Proc, Status};

use super::freezer::is_frozen;
use crate::model::{input::Process, untrusted::Untrusted};

/// include/linux/sched.h
const PF_EXITING: u32 = 4;
/// Lengths a traced process can choose are bounded.
const MAX_TEXT: usize = 4096;

/// The process as it is now; `None` when it is gone, or when its pid changed hands while reading.
pub fn read(pid: u32, with_cmdline: bool) -> Option<Process> {
    let proc = Proc::new(pid as i32).ok()?;
    let stat = proc.stat().ok()?;
    let exe = proc
        .exe()
        .ok()
        .map(|path| bounded(path.display().to_string()));
    let cmdline = if with_cmdline {
        proc.cmdline().ok()
    } else {
        None
    };
    let cgroup = cgroup(&proc);
    let fd_limit = match proc.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    // Still the same process? Everything above was read through its pid.
    if Proc::new(pid as i32).ok()?.stat().ok()?.starttime != stat.starttime {
        return None;
    }
    let start_boot = start_boot(stat.starttime);
    Some(Process {
        pid,
        start_boot,
        start_wall: wall_of_boot(start_boot),
        service: cgroup.as_deref().and_then(service),
        comm: bounded(stat.comm),
        exe,
        cmdline: cmdline.map(|words| bounded(words.join(" "))),
        cgroup,
        parent: stat.ppid as u32,
        state: stat.state,
        threads: stat.num_threads as u32,
        fd_limit,
        open_fds: open_fds(pid),
        frozen: is_frozen(&proc),
    })
}

/// Whether it is on its way out, and still the one that was read.
pub fn is_exiting(process: &Process) -> bool {
    let stat = Proc::new(process.pid as i32).and_then(|proc| proc.stat());
    stat.is_ok_and(|stat| {
        stat.flags & PF_EXITING != 0 && start_boot(stat.starttime) == process.start_boot
    })
}

/// Nanoseconds, of clock ticks as in /proc.
fn start_boot(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1))
}

/// The process as it begins another program. Cheap, for a build executes thousands; the rest is read when a
/// report asks for it.
pub fn executed(pid: u32, start_boot: u64, comm: String) -> Process {
    let mut process = named(pid, start_boot, comm);
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    process.exe = exe.ok().map(|path| bounded(path.display().to_string()));
    process
}

/// All that is known of it.
pub fn named(pid: u32, start_boot: u64, comm: String) -> Process {
    Process {
        pid,
        start_boot,
        start_wall: wall_of_boot(start_boot),
        comm: bounded(comm),
        exe: None,
        cmdline: None,
        service: None,
        cgroup: None,
        parent: 0,
        state: 'X',
        threads: 0,
        fd_limit: None,
        open_fds: None,
        frozen: false,
    }
}

/// The folder's size is the number of its entries since Linux 6.2 (`fs/proc/fd.c:proc_fd_getattr`); before
/// that it is 0.
fn open_fds(pid: u32) -> Option<u64> {
    let folder = format!("/proc/{pid}/fd");
    match std::fs::metadata(&folder).ok()?.len() {
        0 => Some(std::fs::read_dir(folder).ok()?.count() as u64),
        size => Some(size),
    }
}

/// It has not ended, whether or not its parent has taken notice.
pub fn is_alive(pid: u32) -> bool {
    let stat = Proc::new(pid as i32).and_then(|proc| proc.stat());
    stat.is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// It has been killed, or exits, and what it had open may not be closed yet.
pub fn is_dying(pid: u32) -> bool {
    const KILLED: u64 = 1 << (libc::SIGKILL - 1);
    let Ok(process) = Proc::new(pid as i32) else {
        return false;
    };
    let exits = process
        .stat()
        .is_ok_and(|stat| stat.flags & PF_EXITING != 0 && !matches!(stat.state, 'Z' | 'X'));
    let is_killed = |status: Status| (status.sigpnd | status.shdpnd) & KILLED != 0 && is_alive(pid);
    exits || process.status().is_ok_and(is_killed)
}

/// `pid` and everything below it now.
pub fn with_descendants(pids: &[u32]) -> Vec<u32> {
    let mut family = pids.to_vec();
    let parents: Vec<(u32, u32)> = procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|proc| proc.stat().ok())
        .map(|stat| (stat.pid as u32, stat.ppid as u32))
        .collect();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        for (pid, its_parent) in &parents {
            if *its_parent == parent && !family.contains(pid) {
                family.push(*pid);
            }
        }
        next += 1;
    }
    family
}

/// Does a process of such a name exist?
pub fn any_named(fits: impl Fn(&Untrusted) -> bool) -> bool {
    procfs::process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|proc| proc.stat().ok())
        .any(|stat| fits(&Untrusted::new(stat.comm)))
}

/// TCP sockets of this network namespace, all states but `TIME_WAIT` (/proc/net/sockstat).
pub fn tcp_sockets() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "alloc")?;
    words.next()?.parse().ok()
}

/// cgroup v2 path, else the first named v1 hierarchy.
fn cgroup(proc: &Proc) -> Option<String> {
    let groups = proc.cgroups().ok()?;
    let of = |want: &dyn Fn(&procfs::ProcessCGroup) -> bool| {
        groups
            .0
            .iter()
            .find(|group| want(group))
            .map(|group| bounded(group.pathname.clone()))
    };
    of(&|group| group.hierarchy == 0 && group.pathname != "/")
        .or_else(|| of(&|group| group.pathname != "/"))
        .or_else(|| of(&|_| true))
}

/// The systemd unit or container of a cgroup path: the innermost part that names one.
pub(super) fn service(cgroup: &str) -> Option<String> {
    cgroup.rsplit('/').find_map(|part| {
        if part.ends_with(".service") {
            return Some(part.to_owned());
        }
        let id = part
            .strip_suffix(".scope")
            .unwrap_or(part)
            .rsplit(['-', ':'])
            .next()
            .unwrap_or(part);
        let is_container = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_container.then(|| id.chars().take(12).collect())
    })
}

/// Of a text that a traced process has chosen.
pub fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
    text
}

fn wall_of_boot(boot_ns: u64) -> Option<Timestamp> {
    let boot_now = clock_ns(rustix::time::ClockId::Boottime);
    let age = boot_now.saturating_sub(boot_ns);
    Timestamp::now()
        .checked_sub(std::time::Duration::from_nanos(age))
        .ok()
}

fn clock_ns(clock: rustix::time::ClockId) -> u64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Does the process's cgroup lie at or below `path` (below the mount point, as in /proc/PID/cgroup)?
pub fn in_cgroup(process: &Process, path: &str) -> bool {
    let wanted = path.trim_end_matches('/');
    process.cgroup.as_deref().is_some_and(|own| {
        own == wanted
            || own
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// The path of a cgroup directory relative to the mount point that holds it.
pub fn cgroup_name(path: &Path) -> io::Result<String> {
    let full = std::fs::canonicalize(path)?;
    let mounts = procfs::process::Process::myself()
        .and_then(|me| me.mountinfo())
        .map_err(io::Error::other)?;
    let relative = mounts
        .into_iter()
        .filter(|mount| mount.fs_type.starts_with("cgroup"))
        .filter_map(|mount| {
            full.strip_prefix(&mount.mount_point)
                .ok()
                .map(Path::to_path_buf)
        })
        .min_by_key(|rest| rest.as_os_str().len());
    match relative {
        Some(rest) => Ok(format!("/{}", rest.display())),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not inside a cgroup mount",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_the_unit_or_the_container() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(
            service("/system.slice/nginx.service").as_deref(),
            Some("nginx.service")
        );
        assert_eq!(
            service(&format!("/system.slice/docker-{id}.scope")).as_deref(),
            Some("0123456789ab")
        );
        assert_eq!(
            service(&format!("/docker/{id}")).as_deref(),
            Some("0123456789ab")
        );
        assert_eq!(service("/user.slice/user-0.slice"), None);
    }

    #[test]
    fn this_process_can_be_read_and_is_its_own_descendant() {
        let pid = std::process::id();
        let own = read(pid, true).unwrap();
        assert_eq!(own.pid, pid);
        assert!(own.exe.is_some() && own.cmdline.is_some());
        assert!(with_descendants(&[pid]).contains(&pid));
        assert!(read(u32::MAX >> 1, false).is_none());
    }
}
