//! Do the process and the cgroup that the user named exist? A filter on nothing would report nothing
//! and look like good news.

use std::{fs, io, path::Path};

use crate::{exit::Explained, model::untrusted::Untrusted};

/// A process of this id exists, and it is not merely one of a process's threads.
pub fn check_pid(pid: u32) -> Result<(), Explained> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| {
        Explained::new(
            format!("there is no process {pid}"),
            "it ended, or --pid got the id it has in a container",
            "look it up with `pgrep -a NAME` on this host, outside of containers",
        )
    })?;
    let leader: Option<u32> = status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    match leader {
        Some(leader) if leader != pid => Err(Explained::new(
            format!("{pid} is a thread of process {leader}"),
            "sockets belong to processes, not to threads",
            format!("use --pid {leader}"),
        )),
        _ => Ok(()),
    }
}

/// `--cgroup` named no folder of a cgroup.
pub fn no_cgroup(asked: &Path, error: &io::Error) -> Explained {
    let shown = Untrusted::from_bytes(asked.as_os_str().as_encoded_bytes());
    Explained::new(
        format!("{shown} is no cgroup: {error}"),
        "--cgroup takes a folder below the cgroup mount, and this is none",
        "prepend the mount (often /sys/fs/cgroup) to the path that `systemd-cgls` or \
         /proc/PID/cgroup shows",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_thread_and_from_nothing() {
        let own = std::process::id();
        assert_eq!(check_pid(own), Ok(()));
        assert!(
            check_pid(999_999_999)
                .unwrap_err()
                .what
                .contains("999999999")
        );
        // The test runs in a thread of its own.
        let thread = rustix::thread::gettid().as_raw_pid() as u32;
        let error = check_pid(thread).unwrap_err();
        assert_eq!(error.fix, format!("use --pid {own}"));
    }

    #[test]
    fn a_path_that_is_no_cgroup_is_shown() {
        let error = fs::metadata("/nginx.service").unwrap_err();
        let message = no_cgroup(Path::new("/nginx.service"), &error).to_string();
        assert!(
            message.starts_with("/nginx.service is no cgroup: "),
            "{message}"
        );
        assert!(
            message.contains("prepend the mount (often /sys/fs/cgroup)"),
            "{message}"
        );
    }
}
