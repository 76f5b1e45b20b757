//! Is a process frozen by its cgroup? (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst)

use std::path::{Path, PathBuf};

use procfs::process::Process as Proc;

pub fn is_frozen(proc: &Proc) -> bool {
    let (Ok(groups), Ok(mounts)) = (proc.cgroups(), Proc::myself().and_then(|me| me.mountinfo()))
    else {
        return false;
    };
    mounts.into_iter().any(|mount| {
        let (file, frozen) = match mount.fs_type.as_str() {
            "cgroup2" => ("cgroup.events", "frozen 1"),
            "cgroup" if mount.super_options.contains_key("freezer") => ("freezer.state", "FROZEN"),
            _ => return false,
        };
        let own = groups.0.iter().find(|group| match file {
            "cgroup.events" => group.hierarchy == 0,
            _ => group.controllers.iter().any(|name| name == "freezer"),
        });
        own.is_some_and(|group| says(&mount.mount_point, &group.pathname, file, frozen))
    })
}

fn says(mount: &Path, group: &str, file: &str, wanted: &str) -> bool {
    let path: PathBuf = mount.join(group.trim_start_matches('/')).join(file);
    std::fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.trim() == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_frozen_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("a/b");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(says(dir.path(), "/a/b", "cgroup.events", "frozen 1"));
        std::fs::write(group.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert!(!says(dir.path(), "/a/b", "cgroup.events", "frozen 1"));
        assert!(!says(dir.path(), "/gone", "cgroup.events", "frozen 1"));
    }

    #[test]
    fn a_running_process_is_not_frozen() {
        assert!(!is_frozen(&Proc::myself().unwrap()));
    }
}
