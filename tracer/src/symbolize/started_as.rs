//! The name that a program was started by, where that is another one of its file: a link beside it, as `redis-server` is
//! of `redis-check-rdb` on Debian. Believed only if that name leads to the very file which the process executes.

use std::path::{Path, PathBuf};

use procfs::process::Process;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::maps::module;
use super::open;

/// The path that the kernel tells of what the process executes, and what it was started as. `None` where the name of
/// the file says as much: it is the same, or more of it (`python3` leads to `python3.11`).
pub(super) fn another_name(process: &Process) -> Option<(PathBuf, String)> {
    let comm = process.stat().ok()?.comm;
    let path = process.exe().ok()?;
    let is_plain = !comm.is_empty() && !comm.contains('/') && !comm.starts_with('.');
    if !is_plain || module(&path).starts_with(&comm) {
        return None;
    }
    let pid = u32::try_from(process.pid).ok()?;
    let root = open::root_of(pid).ok()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let program = rustix::fs::open(format!("/proc/{pid}/exe"), flags, Mode::empty()).ok()?;
    // The kernel cuts what it keeps of the name to 15 bytes (`TASK_COMM_LEN`).
    let words = process.cmdline().unwrap_or_default();
    let whole = words.first().map(|word| module(Path::new(word)));
    let whole = whole.filter(|name| name.len() > comm.len() && name.starts_with(&comm));
    let mut names = whole.into_iter().chain([comm]);
    let name = names.find(|name| leads_to(&root, &path.with_file_name(name), &program))?;
    Some((path, name))
}

/// Opens nothing: what is behind the name is only compared.
fn leads_to(root: &OwnedFd, path: &Path, program: &OwnedFd) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    let identity = |handle: &OwnedFd| {
        let stat = rustix::fs::fstat(handle).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    found.is_ok_and(|found| identity(&found).is_some() && identity(&found) == identity(program))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::super::maps;
    use super::*;

    struct Started(Child);

    impl Drop for Started {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn module_of(path: &Path, argv0: &str) -> String {
        let mut command = Command::new(path);
        command.arg0(argv0).arg("60").stdin(Stdio::null());
        let started = Started(command.spawn().unwrap());
        let pid = started.0.id();
        // It has no memory for a moment while it begins.
        for _ in 0..1000 {
            let file = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
            let mappings = maps::read(pid).map_or(Vec::new(), |map| map.mappings);
            if let Some(own) = mappings.iter().find(|mapping| mapping.path == file) {
                return own.name.clone();
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{} maps no code", path.display());
    }

    #[test]
    fn a_program_is_called_what_it_was_started_as_if_that_is_provably_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::copy("/bin/sleep", at("keep-check2.1")).unwrap();
        symlink("keep-check2.1", at("keep-server")).unwrap();
        symlink("keep-check2.1", at("keep-a-very-long-name")).unwrap();
        symlink("keep-check2.1", at("keep-check2")).unwrap();
        let named = |name: &str| module_of(&at(name), name);
        assert_eq!(named("keep-check2.1"), "keep-check2.1");
        assert_eq!(named("keep-server"), "keep-server");
        assert_eq!(named("keep-a-very-long-name"), "keep-a-very-long-name");
        // The file's name says more.
        assert_eq!(named("keep-check2"), "keep-check2.1");
        // What it calls itself proves nothing.
        assert_eq!(module_of(&at("keep-check2.1"), "sshd"), "keep-check2.1");
    }
}
