#![cfg(target_arch = "x86_64")]

use std::{
    io::Write,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::model::wait::Member;

const POLL: i32 = 7;
const SELECT: i32 = 23;
const RESTART: i32 = 219;
const POLLIN: i16 = 1;
const POLLOUT: i16 = 4;

/// In place of a process's memory: the address is the offset in the file.
fn memory(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn entry(call: i32, arguments: &[u64]) -> KernelEntry {
    let mut all = [0; ARGUMENTS];
    all[..arguments.len()].copy_from_slice(arguments);
    KernelEntry {
        call,
        arguments: all,
        compat: false,
        pc: 1 << 40,
        sp: 1 << 41,
        fp: 0,
        lr: 0,
        thread_pointer: 0,
    }
}

fn waits(memory: &File, entry: &KernelEntry) -> Wait {
    waits_with(memory, entry, &mut Budget::default())
}

fn waits_with(memory: &File, entry: &KernelEntry, budget: &mut Budget) -> Wait {
    let place = Place {
        pid: std::process::id(),
        tid: std::process::id(),
        state: 'S',
        memory: Some(memory),
    };
    of(place, Some(entry), budget).1
}

fn polled(wait: Wait) -> Polled {
    match wait {
        Wait::Poll(polled) => polled,
        other => panic!("{other:?}"),
    }
}

/// At offset 64, since an array at 0 would be none.
fn array(entries: &[(i32, i16)]) -> File {
    let mut bytes = vec![0; 64];
    for (fd, events) in entries {
        bytes.extend(fd.to_ne_bytes());
        bytes.extend(events.to_ne_bytes());
        bytes.extend([0, 0]);
    }
    memory(&bytes)
}

fn inode(socket: &impl AsRawFd) -> u64 {
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

fn member(fd: i32, file: FileKind, input: bool, output: bool) -> Member {
    Member {
        target: Target { fd, file },
        input,
        output,
    }
}

#[test]
fn the_descriptors_of_a_poll_are_told_by_inode_and_kind() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let event: OwnedFd = eventfd(0, EventfdFlags::empty()).unwrap();
    let (one, other) = (socket.as_raw_fd(), event.as_raw_fd());
    let memory = array(&[(one, POLLIN), (-1, POLLIN), (other, POLLIN | POLLOUT)]);
    let endless = u64::from(u32::MAX);
    let polled = polled(waits(&memory, &entry(POLL, &[64, 3, endless])));
    assert_eq!(
        polled,
        Polled {
            members: vec![
                member(one, FileKind::Socket(inode(&socket)), true, false),
                member(other, FileKind::EventFd, true, true),
            ],
            complete: true,
            select: false,
            times_out: false,
        }
    );
}

#[test]
fn a_poll_of_one_socket_names_it_and_its_time_limit() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let memory = array(&[(socket.as_raw_fd(), POLLIN)]);
    let wait = waits(&memory, &entry(POLL, &[64, 1, 5000]));
    assert_eq!(wait.socket(), Some(inode(&socket)));
    assert!(polled(wait).times_out);
}

/// Libraries for HTTP wait for a connection and for one end of a pair, by which they can be woken up.
#[test]
fn beside_others_a_socket_that_only_this_host_can_wake_is_told_from_them() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("listener")).unwrap();
    let files = |fds: &[i32]| -> Vec<FileKind> {
        let entries: Vec<(i32, i16)> = fds.iter().map(|fd| (*fd, POLLIN)).collect();
        let entry = entry(POLL, &[64, fds.len() as u64, 1]);
        let polled = polled(waits(&array(&entries), &entry));
        let members = polled.members.iter();
        members.map(|member| member.target.file).collect()
    };
    let fds = [socket.as_raw_fd(), pair.as_raw_fd(), listener.as_raw_fd()];
    let of = FileKind::Socket;
    assert_eq!(
        files(&fds),
        [
            of(inode(&socket)),
            FileKind::LocalSocket,
            of(inode(&listener))
        ]
    );
    // What is waited for alone may be a server at the other end.
    assert_eq!(files(&fds[1..2]), [of(inode(&pair))]);
}

#[test]
fn what_is_not_read_whole_is_not_complete() {
    let memory = array(&[(0, POLLIN)]);
    // Longer than it is, nowhere, and more than are read.
    for (at, count) in [(64, 2), (1 << 40, 1), (64, 1_000_000)] {
        let polled = polled(waits(&memory, &entry(POLL, &[at, count, 1])));
        assert!(
            !polled.complete && polled.members.is_empty(),
            "{at} {count}"
        );
    }
    // A number that is no descriptor.
    let memory = array(&[(1 << 20, POLLIN)]);
    let polled = polled(waits(&memory, &entry(POLL, &[64, 1, 1])));
    assert!(!polled.complete);
    assert_eq!(polled.members[0].target.file, FileKind::Unknown);
}

#[test]
fn a_million_entries_cost_no_more_than_is_allowed() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let memory = array(&vec![(socket.as_raw_fd(), POLLIN); 1_000_000]);
    let mut budget = Budget {
        lookups: 6000,
        ..Budget::default()
    };
    let all = entry(POLL, &[64, 1_000_000, 1]);
    let first = polled(waits_with(&memory, &all, &mut budget));
    assert_eq!((first.members.len(), first.complete), (4096, false));
    let whole = entry(POLL, &[64, 4096, 1]);
    let second = polled(waits_with(&memory, &whole, &mut budget));
    assert_eq!((second.members.len(), second.complete), (4096, false));
    assert_eq!(budget.lookups, 0);
}

#[test]
fn the_bitmaps_of_select_are_read() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fd = socket.as_raw_fd();
    let mut bytes = vec![0; 64];
    let mut set = vec![0; 128];
    set[fd as usize / 8] |= 1 << (fd % 8);
    bytes.extend(&set);
    let memory = memory(&bytes);
    let wait = waits(&memory, &entry(SELECT, &[fd as u64 + 1, 64, 0, 0, 0]));
    let file = FileKind::Socket(inode(&socket));
    assert_eq!(
        polled(wait),
        Polled {
            members: vec![member(fd, file, true, false)],
            complete: true,
            select: true,
            times_out: false,
        }
    );
}

#[test]
fn sockets_that_are_read_written_connected_and_accepted_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (fd, listens) = (client.as_raw_fd(), listener.as_raw_fd());
    let (here, there) = (
        Target {
            fd,
            file: FileKind::Socket(inode(&client)),
        },
        Target {
            fd: listens,
            file: FileKind::Socket(inode(&listener)),
        },
    );
    let memory = memory(&[]);
    for (call, fd, wait) in [
        (45, fd, Wait::Receive(here)),
        (0, fd, Wait::Receive(here)),
        (44, fd, Wait::Send(here)),
        (40, fd, Wait::Send(here)),
        (42, fd, Wait::Connect(here)),
        (288, listens, Wait::Accept(there)),
    ] {
        let found = waits(&memory, &entry(call, &[fd as u64]));
        assert_eq!(found, wait, "{call}");
        let call = Syscall(call).name();
        assert_eq!(descriptor(&found, call, &entry(0, &[fd as u64])), Some(fd));
        assert_eq!(without_files(found).socket(), None);
    }
}

const fn file_lock() -> Wait {
    Wait::Lock {
        address: 0,
        owner: None,
    }
}

#[test]
fn calls_without_files_have_their_own_kinds() {
    let memory = memory(&[]);
    for (call, arguments, wait) in [
        (232, vec![5], Wait::Epoll { set: 5 }),
        (202, vec![64, 128], Wait::Futex { address: 64 }),
        (202, vec![64, 393], Wait::Futex { address: 64 }),
        // FUTEX_LOCK_PI waits for a word of another form.
        (202, vec![64, 6], Wait::Other),
        (35, vec![], Wait::Sleep),
        (230, vec![], Wait::Sleep),
        (61, vec![], Wait::Child),
        (34, vec![], Wait::Signal),
        (426, vec![], Wait::IoUring),
        (449, vec![], Wait::Other),
        (74, vec![3], Wait::Disk),
        (257, vec![], Wait::Disk),
        (73, vec![3, 2], file_lock()),
        (72, vec![3, 7], file_lock()),
        (72, vec![3, 38], file_lock()),
        (72, vec![3, 1], Wait::Other),
        (-1, vec![], Wait::Other),
    ] {
        assert_eq!(waits(&memory, &entry(call, &arguments)), wait, "{call}");
    }
}

#[test]
fn states_come_before_calls_and_other_layouts_are_unknown() {
    let memory = memory(&[]);
    let read = entry(0, &[0]);
    let at = |state: char, entry: Option<&KernelEntry>| {
        let place = Place {
            pid: std::process::id(),
            tid: std::process::id(),
            state,
            memory: Some(&memory),
        };
        of(place, entry, &mut Budget::default()).1
    };
    assert_eq!(at('R', None), Wait::Running);
    assert_eq!(at('T', Some(&read)), Wait::Stopped);
    assert_eq!(at('S', None), Wait::Unknown);
    assert_eq!(at('Z', Some(&read)), Wait::Unknown);
    assert_eq!(at('D', Some(&entry(-1, &[]))), Wait::Disk);
    let compat = KernelEntry {
        compat: true,
        ..read
    };
    assert_eq!(at('S', Some(&compat)), Wait::Unknown);
}

/// A stop turns a poll into `restart_syscall`, which keeps the arguments.
#[test]
fn an_interrupted_call_is_the_call() {
    for (function, call) in [
        ("poll_schedule_timeout.constprop.0", Some("poll")),
        ("futex_do_wait", Some("futex")),
        ("futex_wait_queue_me", Some("futex")),
        ("hrtimer_nanosleep", Some("nanosleep")),
        ("do_syscall_64", Some("nanosleep")),
        ("pipe_read", None),
        ("0", None),
    ] {
        assert_eq!(interrupted(function), call);
    }
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let pid = child.id();
    let process = rustix::process::Pid::from_child(&child);
    let pause = || std::thread::sleep(std::time::Duration::from_millis(100));
    pause();
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    pause();
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    pause();
    let place = Place {
        pid,
        tid: pid,
        state: 'S',
        memory: None,
    };
    let found = of(place, Some(&entry(RESTART, &[0])), &mut Budget::default());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found, (Some("nanosleep"), Wait::Sleep));
}
