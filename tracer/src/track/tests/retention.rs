//! A run of months remembers no more than one of minutes, and no bound is passed in silence.

use tracer_common::state::{CLOSE_WAIT, ESTABLISHED, LAST_ACK};

use super::{
    arbitrary::S,
    cases::{candidate, change, item, tracker},
};
use crate::{
    model::{
        input::{
            Counters, EpollChange, EpollOperation, Input, Inventory, Item, Process, ProcessKey,
            StuckCandidate, Warning,
        },
        socket::{History, Holder, LastOperation, SocketOperation},
        stack::{Frame, Stack},
    },
    track::{Bounds, Tracker, processes, stacks},
};

fn operation(at: u64, pid: u32, stack: u64) -> LastOperation {
    LastOperation {
        goroutine: None,
        virtual_thread: None,
        stack,
        at,
        pid,
        tid: pid,
        kind: SocketOperation::Recv,
        sp: 0,
        switches: 0,
    }
}

fn named(name: &str) -> Stack {
    Stack {
        frames: vec![Frame {
            function: Some(name.to_owned()),
            ..Frame::default()
        }],
        ..Stack::default()
    }
}

fn size(tracker: &Tracker) -> usize {
    tracker.remembered().iter().map(|(_, count)| count).sum()
}

fn process(pid: u32, start_boot: u64) -> Process {
    Process {
        pid,
        start_boot,
        start_wall: None,
        comm: format!("job-{pid}"),
        exe: None,
        cmdline: None,
        service: None,
        cgroup: None,
        parent: 1,
        state: 'S',
        threads: 1,
        fd_limit: None,
        open_fds: None,
        frozen: false,
    }
}

/// A job that lives for a while, leaks two connections, and exits.
fn job(tracker: &mut Tracker, n: u64, at: u64) {
    let pid = 1000 + (n % 30_000) as u32;
    let key = n * 10;
    let cookies = [n * 2 + 1, n * 2 + 2];
    let of = |cookie: u64| Item {
        cookie,
        holders: smallvec::smallvec![Holder { pid, fd: 4 }],
        ..item(CLOSE_WAIT, at)
    };
    for cookie in cookies {
        let opened = Some(operation(at - S, pid, key));
        tracker.apply(Input::StuckCandidate(StuckCandidate {
            cookie,
            history: History {
                opened,
                used: Some(operation(at, pid, key + 1)),
                eof: None,
            },
            ..candidate(at)
        }));
        tracker.apply(Input::EpollChanges(vec![EpollChange {
            stack: 0,
            at,
            pid,
            tid: pid,
            set: 5,
            cookie: cookie + (1 << 40),
            change: EpollOperation::Add,
            events: 1,
        }]));
    }
    tracker.apply(Input::Inventory(Inventory {
        from: at + 10 * S,
        to: at + 10 * S,
        items: cookies.map(of).to_vec(),
        holders: vec![ProcessKey {
            pid,
            start_boot: at,
        }],
        complete: true,
    }));
    tracker.apply(Input::Process(process(pid, at)));
    let threads = Vec::new();
    tracker.apply(Input::Threads { pid, threads });
    for key in [key, key + 1] {
        let stack = Stack {
            pid: Some(pid),
            ..named(&format!("job_{n}"))
        };
        tracker.apply(Input::Stack { key, stack });
    }
    tracker.apply(Input::Warning(Warning::new("process-gone", &pid, "gone")));
    for cookie in cookies {
        let mut end = change(at + 20 * S, CLOSE_WAIT, LAST_ACK, 3, Some(pid));
        end.cookie = cookie;
        end.task.as_mut().unwrap().exiting = true;
        tracker.apply(Input::Transition(end));
    }
    let at = at + 20 * S;
    tracker.apply(Input::ProcessEnded { pid, at });
}

#[test]
fn a_month_of_leaking_jobs_leaves_no_more_than_a_day() {
    const HOUR: u64 = 3600 * S;
    let mut tracker = tracker([]);
    let mut sizes = Vec::new();
    let mut losses = 0;
    for n in 0..30 * 24 * 12 {
        // Twelve an hour.
        job(&mut tracker, n, 1000 * S + n * HOUR / 12);
        if n % 1000 == 0 {
            losses += 1;
            tracker.apply(Input::Counters(Counters {
                lost: losses,
                ..Counters::default()
            }));
        }
        if n % (24 * 12) == 24 * 12 - 1 {
            sizes.push(size(&tracker));
        }
    }
    let (first, last) = (sizes[0], *sizes.last().unwrap());
    assert!(last <= first + 4, "grew from {first} to {last}: {sizes:?}");
    assert!(last < 200, "{sizes:?}");
}

/// A job every half second: what the tracker knows of them is what it needs for the last minute, named stacks included.
#[test]
fn jobs_one_after_the_other_leave_nothing_behind() {
    let mut tracker = tracker([]);
    let mut sizes = Vec::new();
    for n in 0..120 * 20 {
        job(&mut tracker, n, 1000 * S + n * S / 2);
        if n % (120 * 5) == 120 * 5 - 1 {
            sizes.push(tracker.remembered());
        }
    }
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
    let stacks = sizes[0].iter().find(|(what, _)| *what == "named_stacks");
    // Two a job.
    assert!(stacks.unwrap().1 <= 2 * 130, "{sizes:?}");
}

#[test]
fn frames_of_all_stacks_have_a_bound() {
    let deep = |key| Input::Stack {
        key,
        stack: Stack {
            frames: vec![Frame::default(); 128],
            ..Stack::default()
        },
    };
    let fit = (stacks::FRAMES / 128) as u64;
    let mut full = tracker((0..fit + 9).map(deep));
    assert_eq!(full.refused(), 9);
    // Told again is no more than it was.
    full.apply(deep(3));
    assert_eq!(full.refused(), 9);
    // Nobody asks for any of them: at the next inventory there is room again.
    full.apply(Input::Inventory(Inventory {
        from: S,
        to: S,
        items: vec![],
        holders: vec![],
        complete: true,
    }));
    full.apply(deep(fit + 1));
    assert_eq!(full.refused(), 9);
}

#[test]
fn a_loss_a_month_ago_is_no_doubt_about_a_socket_of_today() {
    let mut tracker = tracker([]);
    let loss = Counters {
        lost: 1,
        ..Counters::default()
    };
    let whole = |from, complete| {
        Input::Inventory(Inventory {
            from,
            to: from,
            items: vec![],
            holders: vec![],
            complete,
        })
    };
    tracker.apply(whole(150 * S, true));
    tracker.apply(Input::Counters(loss));
    assert!(!tracker.is_complete() && !tracker.nothing_lost_since(2_000_000 * S));
    // A part of the picture repairs nothing.
    tracker.apply(whole(160 * S, false));
    assert!(!tracker.is_complete());
    tracker.apply(whole(170 * S, true));
    assert!(tracker.is_complete());
    assert!(!tracker.nothing_lost_since(165 * S));
    assert!(tracker.nothing_lost_since(2_000_000 * S));
}

/// Each of the bounds, overrun.
#[test]
fn every_bound_holds_and_is_counted() {
    let stack = |key| Input::Stack {
        key,
        stack: Stack::default(),
    };
    let full = tracker((0..stacks::KEPT as u64 + 7).map(stack));
    assert_eq!(full.refused(), 7);

    let of = |pid| Input::Process(process(pid, 1));
    let full = tracker((0..processes::KEPT as u32 + 5).map(of));
    assert_eq!(full.refused(), 5);

    let changes = (0..65_540).map(|cookie| EpollChange {
        stack: 0,
        at: 1,
        pid: 1,
        tid: 1,
        set: 1,
        cookie,
        change: EpollOperation::Add,
        events: 1,
    });
    let full = tracker([Input::EpollChanges(changes.collect())]);
    assert_eq!(full.refused(), 4);

    let bounds = Bounds {
        evicted_histories: 2,
        sockets: 2,
        ..Bounds::default()
    };
    let mut full = Tracker::bounded(bounds);
    for cookie in 0..5 {
        full.apply(Input::History {
            cookie: 100 + cookie,
            history: History::default(),
        });
        full.apply(Input::StuckCandidate(StuckCandidate {
            cookie,
            ..candidate(S)
        }));
    }
    assert_eq!((full.refused(), full.unfollowed()), (3, 3));
    assert!(!full.is_complete());
    // There was no room yet for the one that exists now, then there was: whole again.
    for (at, whole) in [(900 * S, false), (901 * S, true)] {
        full.apply(Input::Inventory(Inventory {
            from: at,
            to: at,
            items: vec![item(ESTABLISHED, 1), item(CLOSE_WAIT, 1)],
            holders: vec![],
            complete: true,
        }));
        assert_eq!(full.is_complete(), whole);
    }
}
