//! Opens the file behind a mapping of an untrusted process, and never a different one. Nothing is
//! opened for reading before it is known to be a regular file, so no FIFO or device is touched.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use serde::{Deserialize, Serialize};

use super::maps::Mapping;
use super::message::is_build_id;

/// Where a host keeps debug information apart from programs.
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// What tells one version of a file from the next. In-place rewriting changes size or mtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileId {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, u64),
}

impl FileId {
    /// Identity of an already opened file, as of now.
    pub(super) fn of(file: &File) -> Result<Self, Errno> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }

    /// By the numbers that the list of mappings has.
    pub(super) fn is_of(self, mapping: &Mapping) -> bool {
        let device = (rustix::fs::major(self.dev), rustix::fs::minor(self.dev));
        device == mapping.dev && self.ino == mapping.ino
    }

    fn from_stat(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
        }
    }
}

pub(super) enum OpenError {
    /// The path leads to another file than the one that is mapped.
    Replaced,
    NotRegular,
    Os(Errno),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

/// The mapped file itself, even when its path was deleted, renamed or taken by another file.
pub(super) fn mapped_file(pid: u32, mapping: &Mapping) -> Result<(File, FileId), OpenError> {
    let std::ops::Range { start, end } = mapping.range;
    let link = format!("/proc/{pid}/map_files/{start:x}-{end:x}");
    // O_PATH does not open what is behind the link: no side effect before the type is known.
    match rustix::fs::open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(handle) => {
            let found = rustix::fs::fstat(&handle)?;
            // Stacked file systems show another device in maps than stat does; there the link
            // itself, which the kernel resolves from the mapping, is the proof.
            if same_device(&found, mapping) && found.st_ino != mapping.ino {
                return Err(OpenError::Replaced);
            }
            readable(&handle, &found)
        }
        // Without CAP_CHECKPOINT_RESTORE the kernel refuses map_files: go by path.
        Err(_) => by_path(pid, mapping),
    }
}

fn by_path(pid: u32, mapping: &Mapping) -> Result<(File, FileId), OpenError> {
    in_root(&root_of(pid)?, mapping)
}

/// What the process sees as `/`.
pub(super) fn root_of(pid: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())
}

/// The mapped file by its path, where nothing else is left of the process. A build-id is for the reader of the
/// file to compare.
pub(super) fn in_root(root: &OwnedFd, mapping: &Mapping) -> Result<(File, FileId), OpenError> {
    let handle = rustix::fs::openat2(
        root,
        &mapping.path,
        OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(|errno| match errno {
        // The name is gone: whatever has it later is another file.
        Errno::NOENT => OpenError::Replaced,
        other => OpenError::Os(other),
    })?;
    let stat = rustix::fs::fstat(&handle)?;
    let same = same_device(&stat, mapping) && stat.st_ino == mapping.ino;
    if !same && mapping.build_id.is_none() {
        return Err(OpenError::Replaced);
    }
    readable(&handle, &stat)
}

/// Which file has that path now.
pub(super) fn id_in_root(root: &OwnedFd, path: &Path) -> Option<FileId> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let handle = rustix::fs::openat2(root, path, flags, Mode::empty(), inside).ok()?;
    let stat = rustix::fs::fstat(&handle).ok()?;
    Some(FileId::from_stat(&stat))
}

/// Was the file made, and last changed in any way, before then (`CLOCK_MONOTONIC` ns)? File systems take the time from
/// the last tick, which is at most 10 ms ago (`kernel/time/timekeeping.c:ktime_get_coarse_real_ts64`).
pub(super) fn is_older_than(file: &File, then: u64) -> bool {
    const TICK: i128 = 10_000_000;
    let ns = |clock| {
        let now = rustix::time::clock_gettime(clock);
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    };
    let ago = ns(rustix::time::ClockId::Monotonic) - i128::from(then);
    let then = ns(rustix::time::ClockId::Realtime) - ago;
    rustix::fs::fstat(file).is_ok_and(|stat| {
        let changed = i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec);
        changed + TICK < then
    })
}

/// The program that the process executes now, and its path.
pub(super) fn program(pid: u32) -> Option<(File, FileId, PathBuf)> {
    let link = format!("/proc/{pid}/exe");
    let path = std::fs::read_link(&link).ok()?;
    let handle = rustix::fs::open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&handle).ok()?;
    let (file, id) = readable(&handle, &stat).ok()?;
    Some((file, id, path))
}

/// Not a process that has given up its memory, and waits for its parent to notice its end.
pub(super) fn has_program(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// Can what was opened as a process's program be what this mapping shows? Stacked file systems tell another device
/// of a mapping than of the file: there the link that was followed is the proof.
pub(super) fn may_be(id: FileId, mapping: &Mapping) -> bool {
    let device = (rustix::fs::major(id.dev), rustix::fs::minor(id.dev));
    mapping.build_id.is_some() || device != mapping.dev || id.ino == mapping.ino
}

/// Separate debug information that is said to be for a build: the one the process itself would find,
/// which is as good or bad as its program, and the host's. Neither is used unless its own build-id agrees.
pub(super) fn debug_files(pid: u32, build_id: &str) -> Vec<File> {
    let Some(path) = debug_path(build_id) else {
        return Vec::new();
    };
    let own = in_root_of(pid, &path).and_then(|file| Some((FileId::of(&file).ok()?, file)));
    let hosts = trusted_file(&path).and_then(|file| Some((FileId::of(&file).ok()?, file)));
    // Outside of containers they are one file.
    let same = own.as_ref().map(|(id, _)| *id) == hosts.as_ref().map(|(id, _)| *id);
    let hosts = hosts.filter(|_| !same);
    own.into_iter().chain(hosts).map(|(_, file)| file).collect()
}

/// The build-id was read from an untrusted file and must not become any other path.
fn debug_path(build_id: &str) -> Option<PathBuf> {
    let (directory, rest) = build_id.split_at_checked(2)?;
    let usable = is_build_id(build_id) && !rest.is_empty();
    usable.then(|| format!("{DEBUG_ROOT}/.build-id/{directory}/{rest}.debug").into())
}

/// The regular file that a process has at this path; links in it lead nowhere but into its own root.
fn in_root_of(pid: u32, path: &Path) -> Option<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = format!("/proc/{pid}/root");
    let root = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let handle = rustix::fs::openat2(&root, path, flags, Mode::empty(), inside).ok()?;
    let stat = rustix::fs::fstat(&handle).ok()?;
    readable(&handle, &stat).ok().map(|(file, _)| file)
}

/// A file of the host that only root can have written.
fn trusted_file(path: &Path) -> Option<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let handle = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&handle).ok()?;
    let others_may_write = stat.st_mode & 0o022 != 0;
    if stat.st_uid != 0 || others_may_write {
        return None;
    }
    readable(&handle, &stat).ok().map(|(file, _)| file)
}

fn same_device(stat: &Stat, mapping: &Mapping) -> bool {
    let dev = stat.st_dev;
    (rustix::fs::major(dev), rustix::fs::minor(dev)) == mapping.dev
}

/// Turns a path handle into one that reads the same inode.
fn readable(handle: &OwnedFd, stat: &Stat) -> Result<(File, FileId), OpenError> {
    use rustix::fd::AsRawFd;

    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OpenError::NotRegular);
    }
    // Following our own fd's link reaches the checked inode, not a name somebody can change.
    let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(again, flags, Mode::empty())?;
    Ok((File::from(fd), FileId::from_stat(stat)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::symbolize::maps::Backing;

    /// As if this process had `path` mapped.
    fn mapping(path: &Path, like: &Path) -> Mapping {
        let meta = fs::metadata(like).unwrap();
        let dev = meta.dev();
        Mapping {
            range: 0x1000..0x2000,
            offset: 0,
            dev: (rustix::fs::major(dev), rustix::fs::minor(dev)),
            ino: meta.ino(),
            build_id: None,
            backing: Backing::File,
            path: path.to_owned(),
            name: "file".to_owned(),
            of_system: false,
        }
    }

    #[test]
    fn by_path_only_the_mapped_regular_file_is_opened() {
        let dir = tempfile::TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::write(at("other"), "x").unwrap();
        symlink(at("file"), at("link")).unwrap();
        let fifo = FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, Mode::RUSR, 0).unwrap();
        let open = |path: &str, like: &str| {
            by_path(std::process::id(), &mapping(&at(path), &at(like))).map(|_| ())
        };
        assert!(open("file", "file").is_ok());
        assert!(matches!(open("other", "file"), Err(OpenError::Replaced)));
        assert!(matches!(open("gone", "file"), Err(OpenError::Replaced)));
        // The link itself is what O_NOFOLLOW reaches, and it is not the mapped file.
        assert!(matches!(open("link", "file"), Err(OpenError::Replaced)));
        // A FIFO would block a reader for ever.
        assert!(matches!(open("fifo", "fifo"), Err(OpenError::NotRegular)));
    }

    #[test]
    fn only_files_of_root_are_trusted() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        let mode = |bits| rustix::fs::chmod(&path, Mode::from_raw_mode(bits)).unwrap();
        mode(0o666);
        assert!(trusted_file(&path).is_none());
        mode(0o644);
        let root = fs::metadata(&path).unwrap().uid() == 0;
        assert_eq!(trusted_file(&path).is_some(), root);
    }
}
