//! Opens the list of names that a language runtime wrote for its own code: `/tmp/perf-PID.map`. The
//! directory is everybody's, so nothing is believed that somebody else, or an earlier process with
//! this pid, can have written; and nothing of its contents ever gets into a message.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use procfs::process::Process;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::symbolize::maps::Start;

/// A Java server with 100,000 compiled methods writes 10 MiB.
const MAX_SIZE: u64 = 64 << 20;
/// Clocks are compared that are read one after the other.
const TOLERANCE: Duration = Duration::from_secs(1);

/// What tells whether the list has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    ino: u64,
    size: u64,
    written: (i64, u32),
}

pub(super) struct Opened {
    pub file: File,
    pub version: Version,
}

/// `Ok(None)` when the process has no such list.
pub(super) fn open(pid: u32, start: Start) -> Result<Option<Opened>, &'static str> {
    let id = i32::try_from(pid).map_err(|_| "no such process")?;
    let status = Process::new(id).and_then(|process| process.status());
    // A process that is gone has taken its view of the files along.
    let Ok(status) = status else { return Ok(None) };
    let inner = status.nspid.and_then(|pids| pids.last().copied());
    let path = format!("tmp/perf-{}.map", inner.unwrap_or(id));
    let path_only = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(
        format!("/proc/{pid}/root"),
        path_only | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .map_err(|_| "the root of the process cannot be entered")?;
    // Opens nothing yet: a FIFO or a device must not notice.
    let handle = rustix::fs::openat2(
        &root,
        path,
        path_only | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let handle = match handle {
        Ok(handle) => handle,
        Err(Errno::NOENT) => return Ok(None),
        Err(_) => return Err("it cannot be opened"),
    };
    let version = check(&handle, status.euid, start)?;
    Ok(Some(Opened {
        file: reading(&handle)?,
        version,
    }))
}

fn check(handle: &rustix::fd::OwnedFd, owner: u32, start: Start) -> Result<Version, &'static str> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = rustix::fs::statx(handle, c"", AtFlags::EMPTY_PATH, wanted);
    let found = found.map_err(|_| "it cannot be opened")?;
    let mode = u32::from(found.stx_mode);
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return Err("it is not a regular file");
    }
    if found.stx_uid != owner && found.stx_uid != 0 {
        return Err("it belongs to another user");
    }
    if mode & 0o022 != 0 {
        return Err("others may write to it");
    }
    if found.stx_size > MAX_SIZE {
        return Err("it is larger than 64 MiB");
    }
    let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    let since = if has_birth {
        found.stx_btime
    } else {
        found.stx_mtime
    };
    if !after(since.tv_sec, start) {
        return Err("it is older than the process: remove it, and let it be written again");
    }
    Ok(Version {
        ino: found.stx_ino,
        size: found.stx_size,
        written: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
    })
}

fn after(seconds: i64, start: Start) -> bool {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = Duration::new(boot.tv_sec.cast_unsigned(), boot.tv_nsec as u32);
    let ran_for = since_boot.saturating_sub(start.since_boot());
    let begun = SystemTime::now().checked_sub(ran_for + TOLERANCE);
    let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.max(0) as u64));
    // The stamp has no fraction: round up.
    let made = made.and_then(|made| made.checked_add(Duration::from_secs(1)));
    begun.zip(made).is_some_and(|(begun, made)| made >= begun)
}

/// The inode that was checked, whatever its name leads to by now.
fn reading(handle: &rustix::fd::OwnedFd) -> Result<File, &'static str> {
    use rustix::fd::AsRawFd;

    let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(link, flags, Mode::empty());
    fd.map(File::from).map_err(|_| "it cannot be opened")
}

/// Names need not be UTF-8. What was appended beyond the limit meanwhile is not read. Leaves the
/// descriptor's offset alone, which another helper may share.
pub(super) fn read(file: &File) -> std::io::Result<String> {
    let mut bytes = vec![0; file.metadata()?.len().min(MAX_SIZE) as usize];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, filled as u64)? {
            0 => break,
            got => filled += got,
        }
    }
    bytes.truncate(filled);
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::process::{Child, Command};

    use super::*;
    use crate::symbolize::maps;

    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("sleep").arg("100").spawn().unwrap())
        }

        fn map(&self) -> PathBuf {
            PathBuf::from(format!("/tmp/perf-{}.map", self.0.id()))
        }

        fn open(&self) -> Result<bool, &'static str> {
            let start = maps::started(self.0.id()).unwrap();
            open(self.0.id(), start).map(|opened| opened.is_some())
        }

        fn mode(&self, bits: u32) {
            rustix::fs::chmod(self.map(), Mode::from_raw_mode(bits)).unwrap();
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
            let _ = fs::remove_file(self.map());
        }
    }

    #[test]
    fn only_a_regular_file_that_nobody_else_can_write_is_believed() {
        let sleeper = Sleeper::new();
        assert_eq!(sleeper.open(), Ok(false));
        fs::write(sleeper.map(), "1000 10 secret\n").unwrap();
        sleeper.mode(0o600);
        assert_eq!(sleeper.open(), Ok(true));
        for bits in [0o620, 0o602] {
            sleeper.mode(bits);
            assert_eq!(sleeper.open(), Err("others may write to it"));
        }
        sleeper.mode(0o600);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(sleeper.map(), Some(65534), None).unwrap();
            assert_eq!(sleeper.open(), Err("it belongs to another user"));
        }
        fs::remove_file(sleeper.map()).unwrap();
        symlink("/etc/passwd", sleeper.map()).unwrap();
        assert_eq!(sleeper.open(), Err("it is not a regular file"));
        fs::remove_file(sleeper.map()).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, sleeper.map(), FileType::Fifo, mode, 0).unwrap();
        assert_eq!(sleeper.open(), Err("it is not a regular file"));
    }

    #[test]
    fn a_list_of_an_earlier_process_is_not_believed() {
        let sleeper = Sleeper::new();
        fs::write(sleeper.map(), "1000 10 name\n").unwrap();
        sleeper.mode(0o600);
        assert_eq!(sleeper.open(), Ok(true));
        // As if the process had started a while after that.
        let start = maps::started(sleeper.0.id()).unwrap().since_boot();
        let later = (start + Duration::from_secs(5)).as_nanos() as u64;
        std::thread::sleep(Duration::from_secs(7));
        let later = Start::from_boot_ns(later).unwrap();
        let found = open(sleeper.0.id(), later).map(|opened| opened.is_some());
        assert!(found.is_err_and(|reason| reason.starts_with("it is older")));
    }
}
