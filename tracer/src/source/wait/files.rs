//! What kind of file a descriptor of a thread is.

use crate::model::wait::FileKind;

/// By the thread's own table: threads can have one each.
pub fn kind_of(pid: u32, tid: u32, fd: i32) -> FileKind {
    let link = std::fs::read_link(format!("/proc/{pid}/task/{tid}/fd/{fd}"));
    let Ok(target) = link else {
        return FileKind::Unknown;
    };
    target.to_str().map_or(FileKind::Other, of_link)
}

/// As `d_dname` of the file systems without names gives them (`net/socket.c:sockfs_dname`, `fs/pipe.c`,
/// `fs/anon_inodes.c`). A path begins with a slash, so none can look like these.
fn of_link(target: &str) -> FileKind {
    let inode = target.strip_prefix("socket:[");
    if let Some(inode) = inode.and_then(|rest| rest.strip_suffix(']')?.parse().ok()) {
        return FileKind::Socket(inode);
    }
    if target.starts_with("pipe:[") {
        return FileKind::Pipe;
    }
    match target.strip_prefix("anon_inode:") {
        Some("[eventfd]") => FileKind::EventFd,
        Some("[timerfd]") => FileKind::TimerFd,
        Some("[eventpoll]") => FileKind::EpollSet,
        _ => FileKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links_tell_the_kind() {
        for (link, kind) in [
            ("socket:[4711]", FileKind::Socket(4711)),
            ("pipe:[12]", FileKind::Pipe),
            ("anon_inode:[eventfd]", FileKind::EventFd),
            ("anon_inode:[timerfd]", FileKind::TimerFd),
            ("anon_inode:[eventpoll]", FileKind::EpollSet),
            ("anon_inode:[io_uring]", FileKind::Other),
            ("/tmp/socket:[4711]", FileKind::Other),
            ("socket:[x]", FileKind::Other),
        ] {
            assert_eq!(of_link(link), kind, "{link}");
        }
    }
}
