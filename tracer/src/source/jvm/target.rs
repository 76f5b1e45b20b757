//! Is a process a `HotSpot` Java virtual machine, and may it be asked? Decides by what it has mapped and
//! by its own performance data, never by a name it can choose without being one.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use procfs::process::Process as Proc;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::perfdata;
use super::refusal::Why;
use crate::model::input::Process;

/// Far above 65,530 lines (`vm.max_map_count`) of usual length.
const MAX_MAPS_BYTES: u64 = 64 << 20;
const SIGQUIT_BIT: u64 = 1 << 2;
/// The thread that answers requests, as the kernel knows it. It starts with the first request.
const LISTENER: &str = "Attach Listener";
const MAX_THREADS: usize = 8192;

/// A virtual machine: everything that takes the tracer's privileges is open.
pub(super) struct Target {
    pub pid: u32,
    /// Its id in its own pid namespace, by which it names its files.
    pub own_pid: i32,
    pub uid: u32,
    pub gid: u32,
    pub handle: OwnedFd,
    /// Its /tmp. Nothing in it is trusted.
    pub tmp: OwnedFd,
    /// Whether a SIGQUIT would open its socket, and do nothing else.
    pub may_be_signalled: Result<(), Why>,
}

/// `Ok(None)` when it is no Java virtual machine, or is gone.
pub(super) fn find(process: &Process) -> Result<Option<Target>, Why> {
    let Some(id) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    // From here on the handle means one process; that it is the right one is seen at the end.
    let Ok(handle) = rustix::process::pidfd_open(id, PidfdFlags::empty()) else {
        return Ok(None);
    };
    let Ok(proc) = Proc::new(id.as_raw_nonzero().get()) else {
        return Ok(None);
    };
    let Some(machine) = mapped(&proc) else {
        return Ok(None);
    };
    let Ok(status) = proc.status() else {
        return Ok(None);
    };
    let own_pid = status.nspid.as_ref().and_then(|ids| ids.last().copied());
    let own_pid = own_pid.unwrap_or(status.pid);
    let takes = machine.data.and_then(|range| takes_requests(&proc, range));
    if takes == Some(false) {
        return Err(Why::Disabled);
    }
    let tmp = open_tmp(process.pid)?;
    // A freezer of version 1 shows as D, in which a first thread otherwise hardly is.
    let stopped = status.state.starts_with(['T', 't', 'Z', 'X', 'D']) || is_frozen(process);
    let may_be_signalled = if stopped {
        Err(Why::Stopped)
    } else if status.sigcgt & SIGQUIT_BIT == 0 {
        Err(Why::NotCaught)
    } else if takes.is_none() {
        Err(Why::Unproven { pid: process.pid })
    } else if listens_already(&proc) {
        Err(Why::SocketRemoved)
    } else {
        no_foreign_trigger(process.pid, own_pid, status.euid)
    };
    if !is_still(process) {
        return Ok(None);
    }
    Ok(Some(Target {
        pid: process.pid,
        own_pid,
        uid: status.euid,
        gid: status.egid,
        handle,
        tmp,
        may_be_signalled,
    }))
}

/// Everything was read through a pid: does it still mean the process that was meant?
pub(super) fn is_still(process: &Process) -> bool {
    let tick = 1_000_000_000 / procfs::ticks_per_second().max(1);
    Proc::new(process.pid as i32)
        .and_then(|proc| proc.stat())
        .is_ok_and(|stat| stat.starttime.saturating_mul(tick) == process.start_boot)
}

/// By its cgroup (version 2) or one above; its state does not show it. The signal would wait for longer
/// than the file that makes it a request.
fn is_frozen(process: &Process) -> bool {
    let Some(cgroup) = &process.cgroup else {
        return false;
    };
    // Beside version 1, systemd mounts it one level deeper.
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .filter_map(|mount| std::fs::read_to_string(format!("{mount}{cgroup}/cgroup.events")).ok())
        .any(|text| text.lines().any(|line| line == "frozen 1"))
}

struct Machine {
    /// Where its performance data is in its memory.
    data: Option<Range<u64>>,
}

fn mapped(proc: &Proc) -> Option<Machine> {
    let mut bytes = Vec::new();
    let maps = proc.open_relative("maps").ok()?;
    maps.take(MAX_MAPS_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut is_machine = false;
    let mut data = None;
    for line in text.lines() {
        // A path starts at the first slash: no other column has one.
        let Some((columns, path)) = line.split_once('/') else {
            continue;
        };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let mut columns = columns.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (columns.next(), columns.next()) else {
            continue;
        };
        if path.ends_with("/libjvm.so") && rights.contains('x') {
            is_machine = true;
        } else if path.contains("/hsperfdata_") && rights.ends_with('s') {
            data = data.or_else(|| parse_range(range));
        }
    }
    is_machine.then_some(Machine { data })
}

fn parse_range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    Some(hex(start)?..hex(end)?)
}

/// By its memory and not by the file: nobody can have put another one in its place.
fn takes_requests(proc: &Proc, range: Range<u64>) -> Option<bool> {
    let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
    let mut data = vec![0; length.min(perfdata::MAX_BYTES)];
    let memory: File = proc.open_relative("mem").ok()?;
    memory.read_exact_at(&mut data, range.start).ok()?;
    perfdata::takes_requests(&data)
}

/// Older versions that once listened answer a SIGQUIT with a dump in their output, even if their socket
/// is gone (`AttachListener::is_init_trigger`).
fn listens_already(proc: &Proc) -> bool {
    let tasks = proc.tasks().into_iter().flatten().flatten();
    tasks
        .take(MAX_THREADS)
        .filter_map(|task| task.stat().ok())
        .any(|stat| stat.comm == LISTENER)
}

fn open_tmp(pid: u32) -> Result<OwnedFd, Why> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())
        .map_err(Why::failed("enter its root directory"))?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Always this one, whatever `java.io.tmpdir` says (`os::get_temp_directory`).
    rustix::fs::openat2(&root, "tmp", flags, Mode::empty(), inside)
        .map_err(Why::failed("open its /tmp"))
}

/// What makes a SIGQUIT a request. The machine looks in its working directory before /tmp, and takes a
/// file of another user for none: then it would print a dump into its output.
fn no_foreign_trigger(pid: u32, own_pid: i32, uid: u32) -> Result<(), Why> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let cwd = rustix::fs::open(format!("/proc/{pid}/cwd"), flags, Mode::empty())
        .map_err(Why::failed("look into its working directory"))?;
    let name = trigger(own_pid);
    match rustix::fs::statat(&cwd, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Ok(found) if is_own(&found, FileType::RegularFile, uid) => Ok(()),
        _ => Err(Why::Foreign { path: name }),
    }
}

pub(super) fn trigger(own_pid: i32) -> String {
    format!(".attach_pid{own_pid}")
}

pub(super) fn is_own(found: &rustix::fs::Stat, kind: FileType, uid: u32) -> bool {
    FileType::from_raw_mode(found.st_mode) == kind && found.st_uid == uid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_machine_is_none() {
        let own = crate::source::process::read(std::process::id(), false).unwrap();
        assert!(matches!(find(&own), Ok(None)));
        let gone = Process {
            pid: u32::MAX >> 1,
            ..own
        };
        assert!(matches!(find(&gone), Ok(None)));
    }

    #[test]
    fn a_reused_pid_is_noticed() {
        let mut own = crate::source::process::read(std::process::id(), false).unwrap();
        assert!(is_still(&own));
        own.start_boot += 1_000_000_000;
        assert!(!is_still(&own));
    }
}
