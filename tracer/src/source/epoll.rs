//! What the epoll sets of a process watch, from /proc/PID/fdinfo.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
};

use procfs::process::{FDTarget, Process as Proc};

use crate::model::input::Interest;

/// Descriptors looked at to find the epoll ones.
const MAX_FDS: usize = 65_536;
/// Text read of the sets of one process: half a million members.
const MAX_TEXT: u64 = 64 << 20;

/// `None` when the process's descriptors cannot be read, or not all of its sets.
pub fn read(pid: u32) -> Option<Vec<Interest>> {
    let fds = Proc::new(pid as i32).ok()?.fd().ok()?;
    let mut interests = Vec::new();
    let mut left = MAX_TEXT;
    for fd in fds.take(MAX_FDS).flatten() {
        let is_epoll =
            matches!(&fd.target, FDTarget::AnonInode(kind) if kind.contains("eventpoll"));
        if is_epoll {
            let set = u32::try_from(fd.fd).ok()?;
            let info = File::open(format!("/proc/{pid}/fdinfo/{set}")).ok()?;
            left = read_set(info, set, left, &mut interests)?;
        }
    }
    Some(interests)
}

/// What may still be read after it.
fn read_set(text: impl Read, set: u32, left: u64, into: &mut Vec<Interest>) -> Option<u64> {
    let mut lines = BufReader::new(text.take(left));
    let mut line = String::new();
    while lines.read_line(&mut line).ok()? > 0 {
        into.extend(interest(&line, set));
        line.clear();
    }
    let rest = lines.into_inner().limit();
    (rest > 0).then_some(rest)
}

/// `tfd:        5 events:       19 data: …  pos:0 ino:61 sdev:8`, the inode in hexadecimal and since 4.14.
/// Sockets, pipes and what else can be polled share one count of inodes (`fs/inode.c:get_next_ino`).
fn interest(line: &str, set: u32) -> Option<Interest> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let fd = words.next()?.parse().ok()?;
    let events = words.nth(1)?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"));
    let inode = inode.and_then(|inode| u64::from_str_radix(inode, 16).ok());
    Some(Interest {
        fd,
        events: u32::from_str_radix(events, 16).ok()?,
        inode: inode.unwrap_or(0),
        set,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::event::epoll;

    use super::*;
    use crate::{model::wait::FileKind, source::wait::kind_of};

    #[test]
    fn a_line_of_fdinfo_is_read() {
        let line = "tfd:        5 events:     2019 data:                5  pos:0 ino:61 sdev:8";
        let known = Interest {
            fd: 5,
            events: 0x2019,
            inode: 0x61,
            set: 9,
        };
        assert_eq!(interest(line, 9), Some(known));
        let old = "tfd:        5 events:     2019 data:                5";
        assert_eq!(interest(old, 9), Some(Interest { inode: 0, ..known }));
        assert_eq!(interest("pos:\t0", 9), None);
    }

    #[test]
    fn what_is_too_long_is_not_known() {
        let text = "tfd: 5 events: 19 data: 5 pos:0 ino:61 sdev:8\n".repeat(3);
        let mut all = Vec::new();
        assert_eq!(read_set(text.as_bytes(), 9, 1000, &mut all), Some(862));
        assert_eq!(all.len(), 3);
        assert_eq!(read_set(text.as_bytes(), 9, 100, &mut all), None);
    }

    /// The member's number names another file meanwhile, and its inode still it.
    #[test]
    fn members_are_told_by_their_inode() {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let kept = socket.try_clone().unwrap();
        let data = epoll::EventData::new_u64(1);
        epoll::add(&set, &socket, data, epoll::EventFlags::IN).unwrap();
        let fd = socket.as_raw_fd();
        drop(socket);
        let own = std::process::id();
        let all = read(own).unwrap();
        let of_set = |interest: &&Interest| i64::from(interest.set) == i64::from(set.as_raw_fd());
        let found: Vec<&Interest> = all.iter().filter(of_set).collect();
        assert_eq!(found.len(), 1);
        let FileKind::Socket(inode) = kind_of(own, own, kept.as_raw_fd()) else {
            panic!("no socket");
        };
        assert_eq!((found[0].inode, found[0].fd), (inode, fd as u32));
    }
}
