//! Network namespaces of the test's own: a process started inside one, and a thread that joins it.
use rustix::fd::OwnedFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;

/// Prefix that starts a command in a fresh network namespace with its loopback up. The command
/// replaces the shell, so the pid stays the one that was spawned.
pub const FRESH: &[&str] = &[
    "unshare",
    "--net",
    "sh",
    "-c",
    "ip link set lo up && exec \"$0\" \"$@\"",
];

/// Runs `work` on a thread inside the network namespace of `pid`.
pub fn inside<T: Send>(pid: u32, work: impl FnOnce() -> T + Send) -> T {
    let namespace: OwnedFd = std::fs::File::open(format!("/proc/{pid}/ns/net"))
        .expect("open a namespace")
        .into();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("join a network namespace");
            work()
        });
        thread.join().expect("work inside a namespace")
    })
}
