//! What the epoll sets of a process watch, from /proc/PID/fdinfo.

use procfs::process::{FDTarget, Process as Proc};

use crate::model::input::Interest;

/// Descriptors looked at to find the epoll ones.
const MAX_FDS: usize = 65_536;

/// `None` when the process's descriptors cannot be read.
pub fn read(pid: u32) -> Option<Vec<Interest>> {
    let fds = Proc::new(pid as i32).ok()?.fd().ok()?;
    let mut interests = Vec::new();
    for fd in fds.take(MAX_FDS).flatten() {
        let is_epoll =
            matches!(&fd.target, FDTarget::AnonInode(kind) if kind.contains("eventpoll"));
        if is_epoll {
            let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.fd)).ok()?;
            interests.extend(info.lines().filter_map(interest));
        }
    }
    Some(interests)
}

/// `tfd:        5 events:       19 data: …`
fn interest(line: &str) -> Option<Interest> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let fd = words.next()?.parse().ok()?;
    let events = words.nth(1)?;
    Some(Interest {
        fd,
        events: u32::from_str_radix(events, 16).ok()?,
        inode: 0,
        set: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_fdinfo_is_read() {
        let line = "tfd:        5 events:     2019 data:                5  pos:0 ino:61 sdev:8";
        assert_eq!(
            interest(line),
            Some(Interest {
                fd: 5,
                events: 0x2019,
                inode: 0,
                set: 0,
            })
        );
        assert_eq!(interest("pos:\t0"), None);
    }
}
