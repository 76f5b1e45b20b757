//! Inputs as a hostile day would bring them: few sockets, many moments, every kind of contradiction.

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*};
use tracer_common::state::{CLOSE, CLOSE_WAIT, LISTEN};

use crate::model::{
    input::{
        Counters, Input, Interest, Inventory, Item, Observes, Process, RunHeader, Scope,
        StuckCandidate, Task, Thread, Transition, Warning,
    },
    report::{Host, Tool},
    socket::{Endpoints, Entry, History, Holder, LastOperation, SocketOperation},
    stack::{Frame, Stack},
    wait::Wait,
};

pub const S: u64 = 1_000_000_000;

pub fn run_header() -> RunHeader {
    RunHeader {
        tool: Tool::default(),
        host: Host::default(),
        hooks: Vec::new(),
        warnings: Vec::new(),
        at: 100 * S,
        wall: Timestamp::UNIX_EPOCH,
        scope: Scope::default(),
        live: true,
        some_processes_unseen: false,
        min_age_ns: 2 * S,
        grace_ns: S,
        exit_age_ns: None,
        observes: Observes::default(),
    }
}

pub fn inputs() -> impl Strategy<Value = Vec<Input>> {
    vec(input(), 0..40)
}

pub fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => transition().prop_map(Input::Transition),
        2 => transition().prop_map(Input::Destroyed),
        4 => candidate().prop_map(Input::StuckCandidate),
        2 => (cookie(), history()).prop_map(|(cookie, history)| Input::History { cookie, history }),
        4 => inventory().prop_map(Input::Inventory),
        1 => process().prop_map(Input::Process),
        1 => (pid(), vec(thread(), 0..3)).prop_map(|(pid, threads)| Input::Threads { pid, threads }),
        1 => (pid(), vec(interest(), 0..3))
            .prop_map(|(pid, interests)| Input::Epoll { pid, interests }),
        1 => vec(pid(), 0..3).prop_map(Input::Followed),
        1 => (1u64..8, stack()).prop_map(|(key, stack)| Input::Stack { key, stack }),
        2 => counters().prop_map(Input::Counters),
        1 => "[a-z]{1,3}".prop_map(|text| Input::Warning(Warning::new("code", &"", text))),
        1 => (pid(), moment()).prop_map(|(pid, at)| Input::ProcessEnded { pid, at }),
        1 => moment().prop_map(|at| Input::Tick { at }),
    ]
}

/// Mostly within the run, in any order; now and then nonsense.
fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 90 * S..400 * S, 1 => Just(0), 1 => Just(u64::MAX)]
}

fn cookie() -> impl Strategy<Value = u64> {
    1u64..10
}

fn pid() -> impl Strategy<Value = u32> {
    1u32..5
}

fn state() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(CLOSE_WAIT), 2 => Just(CLOSE), 1 => Just(LISTEN), 2 => any::<u8>()]
}

fn endpoints() -> impl Strategy<Value = Endpoints> {
    (0u16..3, 0u16..3, any::<bool>()).prop_map(|(local, remote, v6)| {
        let ip = if v6 { "[::1]" } else { "10.0.0.1" };
        let at = |port: u16| format!("{ip}:{port}").parse().unwrap();
        Endpoints {
            local: at(8000 + local),
            remote: at(40_000 + remote),
        }
    })
}

prop_compose! {
    fn transition()(
        at in moment(), cookie in cookie(), since in moment(), stack in 0u64..8, endpoints in endpoints(),
        netns in 0u32..2, old in state(), new in state(), shutdown in 0u8..5, dead in any::<bool>(),
        task in option::of((pid(), any::<bool>())),
    ) -> Transition {
        let task = task.map(|(pid, exiting)| Task { pid, tid: pid, comm: "t".into(), exiting, killed: false });
        Transition { at, cookie, since, stack, endpoints, netns, old, new, shutdown, dead, has_socket: true, untouched: false, recv_q: None, task }
    }
}

prop_compose! {
    pub fn candidate()(
        cookie in cookie(), state in prop_oneof![Just(CLOSE_WAIT), Just(CLOSE)],
        since in moment(), netns in 0u32..2, endpoints in endpoints(),
        (old_state, error, shutdown) in any::<(u8, u16, u8)>(), history in history(),
    ) -> StuckCandidate {
        let entry = Entry { old_state, error, shutdown, only_fin_unread: false };
        StuckCandidate { cookie, state, since, netns, endpoints, entry, history }
    }
}

fn history() -> impl Strategy<Value = History> {
    let part = || option::of(operation());
    (part(), part(), part()).prop_map(|(opened, used, eof)| History { opened, used, eof })
}

prop_compose! {
    fn operation()(
        stack in 0u64..8, at in moment(), pid in pid(), tid in 1u32..9, sp in any::<u64>(), switches in any::<u32>(),
        kind in prop_oneof![
            Just(SocketOperation::Accept), Just(SocketOperation::Connect), Just(SocketOperation::Recv), Just(SocketOperation::Send),
            Just(SocketOperation::Close), any::<u8>().prop_map(SocketOperation::Other),
        ],
    ) -> LastOperation {
        LastOperation { stack, at, pid, tid, kind, sp, goroutine: None, virtual_thread: None, switches }
    }
}

prop_compose! {
    /// Begin and end may be in any order: two clocks were read.
    pub fn inventory()(
        from in moment(), to in moment(), complete in any::<bool>(), items in vec(item(), 0..8),
    ) -> Inventory {
        let mut items = items;
        // The iterators' streams were merged by cookie.
        items.sort_by_key(|item: &Item| item.cookie);
        items.dedup_by_key(|item| item.cookie);
        Inventory { from, to, items, holders: Vec::new(), complete }
    }
}

prop_compose! {
    fn item()(
        cookie in cookie(), netns in 0u32..2, endpoints in endpoints(), state in state(), shutdown in 0u8..4,
        has_socket in any::<bool>(), dead in any::<bool>(), inode in 0u64..3,
        recv_q in 0u32..4, send_q in any::<u32>(), last_packet in moment(),
        holders in vec((pid(), 3u32..9), 0..3),
    ) -> Item {
        let holders = holders.into_iter().map(|(pid, fd)| Holder { pid, fd }).collect();
        Item {
            cookie, netns, endpoints, state, shutdown, has_socket, dead, inode, recv_q, send_q,
            last_packet, last_data: 0, read_to: 0, written_to: 0, holders,
        }
    }
}

prop_compose! {
    fn process()(
        pid in pid(), exe in option::of("/[a-c]"), state in prop_oneof![Just('S'), Just('T')],
        fd_limit in option::of(any::<u64>()),
    ) -> Process {
        Process {
            pid, start_boot: 0, start_wall: None, comm: "server".into(), exe, cmdline: None,
            service: None, cgroup: None, parent: 1, state, threads: 1, fd_limit,
            open_fds: Some(7), frozen: false,
        }
    }
}

prop_compose! {
    fn thread()(
        tid in 1u32..9, syscall in option::of(prop_oneof![Just("write"), Just("epoll_wait")]),
        stack in stack(),
    ) -> Thread {
        Thread {
            goroutine: None,
            created: None,
            sampled: None,
            task: None,
            tid, comm: "worker".into(), state: 'S', syscall: syscall.map(str::to_owned),
            fd: None, stack: stack.frames, since: None, socket: None, name: None, frames_at: Vec::new(), wait: Wait::default(), switches: 0, began: 0,}
    }
}

prop_compose! {
    fn interest()(fd in 3u32..9, events in any::<u32>()) -> Interest {
        Interest { fd, events, inode: 0, set: 0,}
    }
}

fn stack() -> impl Strategy<Value = Stack> {
    let frame = (option::of("[f-h]"), 0u64..4).prop_map(|(function, offset)| Frame {
        function,
        module: Some("app".into()),
        offset,
        ..Frame::default()
    });
    (vec(frame, 0..4), any::<bool>()).prop_map(|(frames, truncated)| Stack {
        frames,
        truncated,
        one_of_several: false,
        of_end: false,
        kind: None,
        thread: None,
        pid: None,
        frames_at: Vec::new(),
    })
}

prop_compose! {
    pub fn counters()(
        [seen, submitted, received, lost, missed, damaged] in any::<[u8; 6]>(),
    ) -> Counters {
        Counters {
            seen: seen.into(), submitted: submitted.into(), received: received.into(),
            lost: lost.into(), missed: missed.into(), damaged: damaged.into(),
            ..Counters::default()
        }
    }
}
