//! Which processes have a descriptor on sockets of which only the inode is known, by the links of /proc/PID/fd.

use std::collections::{BTreeMap, BTreeSet};

use procfs::process::FDTarget;

/// Descriptors looked at of one process.
const MAX_FDS: usize = 65_536;

/// The processes of each of these inodes, ascending. What cannot be read holds none.
pub fn holders(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Vec<u32>> {
    let mut found: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let processes = procfs::process::all_processes().into_iter().flatten();
    for process in processes.flatten() {
        let Ok(fds) = process.fd() else {
            continue;
        };
        let pid = process.pid() as u32;
        for fd in fds.take(MAX_FDS).flatten() {
            let FDTarget::Socket(inode) = fd.target else {
                continue;
            };
            if inodes.contains(&inode) {
                let holders = found.entry(inode).or_default();
                if holders.last() != Some(&pid) {
                    holders.push(pid);
                }
            }
        }
    }
    for holders in found.values_mut() {
        holders.sort_unstable();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_socket_is_found_with_who_holds_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let inode = std::fs::metadata(format!("/proc/self/fd/{fd}"))
            .unwrap()
            .ino();
        let found = holders(&BTreeSet::from([inode]));
        assert_eq!(found.get(&inode), Some(&vec![std::process::id()]));
        assert!(holders(&BTreeSet::from([u64::MAX])).is_empty());
    }
}
