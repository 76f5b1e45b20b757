//! The numbers of classic tracepoints, which only tracefs tells: wherever it is mounted, else through a
//! mount of our own that no path leads to. Never mounts anything that others could see.

use std::{
    ffi::OsStr,
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

use super::mounts::Mounts;

/// Folders that are tracefs if they have events: its mounts, and where debugfs mounts it by itself
/// (`kernel/trace/trace.c:tracing_init_dentry`).
fn candidates(mounts: &Mounts) -> Vec<PathBuf> {
    let within_debugfs = mounts.all("debugfs").map(|at| at.join("tracing"));
    mounts.all("tracefs").chain(within_debugfs).collect()
}

/// How tracefs is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Mounted(PathBuf),
    /// Through a mount without a place in the file system, which is gone with its descriptor.
    Detached,
}

/// Why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// A mount of one's own takes `CAP_SYS_ADMIN`; looking into one there is may take
    /// `CAP_DAC_READ_SEARCH`.
    NotAllowed,
    /// `CONFIG_FTRACE=n`, or a kernel before 5.2, which has no detached mounts.
    NotOffered,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => "tracefs may not be opened",
            Self::NotOffered => {
                "tracefs is not mounted, and this kernel does not offer it unmounted"
            }
        })
    }
}

#[derive(Debug)]
pub struct Tracefs {
    root: OwnedFd,
    pub origin: Origin,
}

impl Tracefs {
    pub fn open() -> Result<Self, Absence> {
        let mut denied = false;
        for at in candidates(&Mounts::of_this_process()) {
            match folder(CWD, &at).and_then(|root| folder(&root, Path::new("events")).map(|_| root))
            {
                Ok(root) => {
                    let origin = Origin::Mounted(at);
                    return Ok(Self { root, origin });
                }
                Err(errno) => denied |= is_denial(errno),
            }
        }
        match detached() {
            Ok(root) => Ok(Self {
                root,
                origin: Origin::Detached,
            }),
            Err(errno) if denied || is_denial(errno) => Err(Absence::NotAllowed),
            Err(_) => Err(Absence::NotOffered),
        }
    }

    /// By which `perf_event_open` knows the tracepoint.
    pub fn number(&self, category: &str, name: &str) -> io::Result<u64> {
        let path: PathBuf = ["events", category, name, "id"].iter().collect();
        let file = openat(
            &self.root,
            &path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let text = io::read_to_string(std::fs::File::from(file))?;
        text.trim().parse().map_err(io::Error::other)
    }
}

fn folder(base: impl std::os::fd::AsFd, at: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    openat(base, at, flags, Mode::empty())
}

fn detached() -> Result<OwnedFd, Errno> {
    let context = fsopen(OsStr::new("tracefs"), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

fn is_denial(errno: Errno) -> bool {
    errno == Errno::PERM || errno == Errno::ACCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracefs_is_looked_for_in_all_its_places() {
        let mounts = Mounts::parse(
            "1 0 0:1 / /sys/kernel/debug rw - debugfs debugfs rw\n\
             2 0 0:2 / /trace rw - tracefs tracefs rw\n",
        );
        let expected: [PathBuf; 2] = ["/trace".into(), "/sys/kernel/debug/tracing".into()];
        assert_eq!(candidates(&mounts), expected);
    }

    #[test]
    fn an_absence_says_which_kind_it_is() {
        assert!(is_denial(Errno::PERM) && !is_denial(Errno::NODEV));
        assert_ne!(
            Absence::NotAllowed.to_string(),
            Absence::NotOffered.to_string()
        );
    }
}
