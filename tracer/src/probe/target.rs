//! Do the process and the cgroup that the user named exist? A filter on nothing would report nothing
//! and look like good news.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

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

/// The cgroup as the second line of /proc/PID/cgroup names it (`0::/system.slice/…`), from that form
/// or from a folder below the mount.
pub fn cgroup(mount: Option<&Path>, asked: &Path) -> Result<String, Explained> {
    let shown = Untrusted::from_bytes(asked.as_os_str().as_encoded_bytes());
    let Some(mount) = mount else {
        return Err(Explained::new(
            format!("cannot look up cgroup {shown}"),
            "no cgroup v2 file system is mounted (old hosts have only v1)",
            "mount one (mount -t cgroup2 cgroup2 /sys/fs/cgroup), or choose by --pid or --comm",
        ));
    };
    let inside = asked.strip_prefix(mount).unwrap_or(asked);
    let missing = |cause: String| {
        Explained::new(
            format!("there is no cgroup {shown}"),
            cause,
            "`systemd-cgls`, or the last line of /proc/PID/cgroup, shows the path of a process",
        )
    };
    let parts: Vec<&str> = inside
        .components()
        .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| missing("the path contains `..`, or bytes that are no text".to_owned()))?;
    let folder: PathBuf = mount.join(parts.join("/"));
    if !folder.join("cgroup.procs").exists() {
        return Err(missing(format!("{} is no cgroup", folder.display())));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Is `cgroup` the wanted one or below it?
pub fn is_within(cgroup: &str, wanted: &str) -> bool {
    match cgroup.strip_prefix(wanted.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
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
    fn a_cgroup_may_be_named_in_both_forms() {
        let mount = tempfile::tempdir().unwrap();
        let slice = mount.path().join("system.slice");
        fs::create_dir(&slice).unwrap();
        fs::write(slice.join("cgroup.procs"), "").unwrap();
        let find = |asked: &Path| cgroup(Some(mount.path()), asked);
        for asked in [
            slice.as_path(),
            Path::new("/system.slice/"),
            Path::new("system.slice"),
        ] {
            assert_eq!(find(asked).unwrap(), "/system.slice");
        }
        for asked in ["/nginx", "/../system.slice"] {
            let error = find(Path::new(asked)).unwrap_err();
            assert!(error.what.contains(asked), "{error}");
        }
        assert!(cgroup(None, &slice).unwrap_err().cause.contains("v2"));
    }

    #[test]
    fn within_ends_at_a_slash() {
        assert!(is_within("/a/b", "/a") && is_within("/a", "/a") && is_within("/a", "/"));
        assert!(!is_within("/ab", "/a") && !is_within("/", "/a"));
    }
}
