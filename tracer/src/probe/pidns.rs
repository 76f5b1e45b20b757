//! Pid namespaces: in which one /proc tells process ids, and whether some processes are out of sight.

use std::{fs, os::unix::fs::MetadataExt as _};

/// Inode number of the first namespace (`PROC_PID_INIT_INO` in the kernel's headers; the same since 3.8).
const FIRST: u64 = 0xefff_fffc;

/// Is this process in the first namespace, which shows all processes? Without /proc there is no telling;
/// the first is by far the likelier.
pub fn is_first() -> bool {
    number_of("self").is_none_or(|own| own == FIRST)
}

/// Do the ids in /proc mean the same to this process's own system calls? Without /proc there are none.
pub fn proc_is_own() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    levels(&status) == 1
}

/// For the kernel program: inode number of the namespace in which /proc tells ids, 0 for the first.
pub fn to_tell_ids_in() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    namespace_of_proc(number_of("1"), number_of("self"), &status)
        .filter(|number| *number != FIRST)
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(0)
}

/// Process 1 of /proc is in the namespace of which /proc is. Whoever may not look there can tell from
/// `NSpid`, which lists the ids from /proc's namespace down to the process's own.
fn namespace_of_proc(of_first: Option<u64>, own: Option<u64>, status: &str) -> Option<u64> {
    of_first.or(own.filter(|_| levels(status) == 1))
}

/// From the namespace of /proc down to the process's own, both counted.
fn levels(status: &str) -> usize {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.map_or(0, |ids| ids.split_whitespace().count())
}

fn number_of(process: &str) -> Option<u64> {
    let meta = fs::metadata(format!("/proc/{process}/ns/pid")).ok()?;
    Some(meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_of_proc_is_that_of_its_first_process() {
        let nested = "Name:\tx\nNSpid:\t4711\t7\n";
        let own = "NSpid:\t7\n";
        assert_eq!(namespace_of_proc(Some(FIRST), Some(9), nested), Some(FIRST));
        assert_eq!(namespace_of_proc(Some(9), Some(9), own), Some(9));
        assert_eq!(namespace_of_proc(None, Some(9), own), Some(9));
        assert_eq!(namespace_of_proc(None, Some(9), nested), None);
        assert_eq!(namespace_of_proc(None, None, ""), None);
    }
}
