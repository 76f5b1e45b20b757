//! event-lost: an event loop with one-shot registrations that is not armed again after the reply: the
//! kernel has nobody to tell of the end. The healthy twin arms it again.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;

#[path = "rig.rs"]
mod rig;

/// As in linux/eventpoll.h.
const ADD: i32 = 1;
const MOD: i32 = 3;
const IN: u32 = 1;
const ONESHOT: u32 = 1 << 30;

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
struct Event {
    events: u32,
    data: u64,
}

unsafe extern "C" {
    fn epoll_create1(flags: i32) -> i32;
    fn epoll_ctl(epoll: i32, operation: i32, fd: i32, event: *mut Event) -> i32;
    fn epoll_wait(epoll: i32, events: *mut Event, room: i32, timeout: i32) -> i32;
}

struct Loop(OwnedFd);

impl Loop {
    fn new() -> Self {
        // SAFETY: no pointers; the descriptor is new and ours.
        Self(unsafe { OwnedFd::from_raw_fd(epoll_create1(0)) })
    }

    #[inline(never)]
    fn watch(&self, operation: i32, fd: i32, events: u32, key: usize) {
        let mut event = Event { events, data: key as u64 };
        // SAFETY: the event outlives the call.
        let done = unsafe { epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) };
        assert_eq!(done, 0, "epoll_ctl");
    }

    #[inline(never)]
    fn next(&self) -> usize {
        let mut event = Event { events: 0, data: 0 };
        loop {
            // SAFETY: room for one event, which outlives the call.
            let ready = unsafe { epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, -1) };
            if ready == 1 {
                return event.data as usize;
            }
        }
    }
}

/// Whether the connection is still good.
#[inline(never)]
fn on_readable(stream: &mut TcpStream) -> bool {
    let got = stream.read(&mut [0; 1024]).unwrap_or(0);
    got > 0 && stream.write_all(rig::REPLY).is_ok()
}

#[inline(never)]
fn run_loop(epoll: &Loop, listener: &TcpListener, healthy: bool) {
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    epoll.watch(ADD, listener.as_raw_fd(), IN, usize::MAX);
    loop {
        let key = epoll.next();
        if key == usize::MAX {
            let (stream, _) = listener.accept().expect("accept");
            epoll.watch(ADD, stream.as_raw_fd(), IN | ONESHOT, streams.len());
            streams.push(Some(stream));
        } else if let Some(stream) = &mut streams[key] {
            if !on_readable(stream) {
                streams[key] = None;
            } else {
                rig::SERVED.fetch_add(1, Ordering::SeqCst);
                if healthy {
                    epoll.watch(MOD, stream.as_raw_fd(), IN | ONESHOT, key);
                }
            }
        }
    }
}

fn main() {
    let rig = rig::start();
    run_loop(&Loop::new(), &rig.listener, rig.healthy);
}
