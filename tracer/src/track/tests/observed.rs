//! What was observed belongs to one process and one moment.

use tracer_common::state::{CLOSE_WAIT, LAST_ACK};

use super::{
    arbitrary::S,
    cases::{candidate, change, inventory, item, tracker},
};
use crate::{
    model::{
        input::{Input, Interest, Inventory, Process, ProcessKey, Thread},
        samples::{Moments, Samples},
        stack::Frame,
        wait::Wait,
    },
    track::Tracker,
};

const PID: u32 = 9;

fn process(start: u64, exe: &str) -> Process {
    Process {
        pid: PID,
        start_boot: start,
        start_wall: None,
        comm: exe.to_owned(),
        exe: Some(format!("/usr/bin/{exe}")),
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

fn running(tid: u32) -> Thread {
    Thread {
        goroutine: None,
        created: None,
        sampled: None,
        task: None,
        tid,
        comm: "worker".to_owned(),
        state: 'R',
        syscall: None,
        fd: None,
        stack: Vec::new(),
        since: None,
        socket: None,
        name: None,
        wait: Wait::Running,
        switches: 0,
        began: 0,
        frames_at: Vec::new(),
    }
}

fn held_by(at: u64, start_boot: u64) -> Input {
    Input::Inventory(Inventory {
        from: at,
        to: at + 1,
        items: vec![item(CLOSE_WAIT, 110 * S)],
        holders: vec![ProcessKey {
            pid: PID,
            start_boot,
        }],
        complete: true,
    })
}

fn looked_at(tracker: &mut Tracker, at: u64, threads: Vec<Thread>) {
    tracker.apply(held_by(at, 500 * S + 3));
    let pid = PID;
    tracker.apply(Input::Threads { pid, threads });
    let interests = vec![Interest {
        fd: 4,
        events: 1,
        inode: 0,
        set: 0,
    }];
    tracker.apply(Input::Epoll { pid, interests });
    tracker.apply(Input::Process(process(500 * S, "server")));
}

#[test]
fn a_pid_that_passed_to_another_process_takes_nothing_along() {
    let mut tracker = tracker([]);
    looked_at(&mut tracker, 600 * S, vec![running(PID)]);
    assert_eq!(tracker.process(PID).unwrap().comm, "server");
    assert_eq!(tracker.threads(PID).len(), 1);
    assert!(tracker.epoll(PID).is_some());
    // The same start, told with less precision, is the same process.
    tracker.apply(Input::Process(process(500 * S, "server")));
    assert_eq!(tracker.threads(PID).len(), 1);

    tracker.apply(held_by(610 * S, 605 * S));
    assert_eq!(tracker.process(PID), None);
    assert!(tracker.threads(PID).is_empty() && tracker.epoll(PID).is_none());
    assert_eq!(tracker.running_since(PID), None);
    // Read from /proc while its inventory still spoke of the former one.
    tracker.apply(Input::Process(process(700 * S, "other")));
    assert_eq!(tracker.process(PID).unwrap().comm, "other");
}

/// Its process is the one that exited, whoever has the pid when the report is made.
#[test]
fn what_an_exit_closed_keeps_its_process() {
    let mut end = change(700 * S, CLOSE_WAIT, LAST_ACK, 3, Some(PID));
    end.task.as_mut().unwrap().exiting = true;
    let mut tracker = tracker([Input::StuckCandidate(candidate(110 * S))]);
    looked_at(&mut tracker, 600 * S, Vec::new());
    tracker.apply(Input::ProcessEnded {
        pid: PID,
        at: 699 * S,
    });
    tracker.apply(Input::Transition(end));
    tracker.apply(Input::Process(process(701 * S, "other")));
    let ended = tracker.ended().next().unwrap();
    assert_eq!(
        ended.ended.as_ref().unwrap().process.as_ref().unwrap().comm,
        "server"
    );
    let report = super::properties::report(&tracker);
    let site = report.sites.first().unwrap();
    assert_eq!(site.process.as_ref().unwrap().comm.raw(), "server");
    // Nobody asks about the pid any more.
    let asked = crate::diagnose::data_requests(&tracker, &|_| None, &|_| None);
    assert!(asked.processes.is_empty() && asked.threads.is_empty());
}

/// The process that is known under the pid had ended before the peer left: nobody has looked at the one that exits.
#[test]
fn what_an_exit_closed_has_no_process_that_had_ended_before() {
    let mut end = change(700 * S, CLOSE_WAIT, LAST_ACK, 3, Some(PID));
    end.task.as_mut().unwrap().exiting = true;
    let mut tracker = tracker([Input::StuckCandidate(candidate(110 * S))]);
    tracker.apply(inventory(600 * S, true, vec![item(CLOSE_WAIT, 110 * S)]));
    tracker.apply(Input::Process(process(50 * S, "server")));
    tracker.apply(Input::ProcessEnded {
        pid: PID,
        at: 109 * S,
    });
    tracker.apply(Input::Transition(end));
    let ended = tracker.ended().next().unwrap();
    let ended = ended.ended.as_ref().unwrap();
    assert!(ended.process.is_none(), "{ended:?}");
    let report = super::properties::report(&tracker);
    assert!(report.sites.first().unwrap().process.is_none());
    // All that is known of the other one is its name.
    tracker.apply(Input::Process(process(0, "next")));
    assert_eq!(tracker.process_then(PID, 110 * S).unwrap().comm, "next");
}

#[test]
fn what_was_not_looked_at_for_this_report_is_unknown() {
    let mut tracker = tracker([]);
    looked_at(&mut tracker, 600 * S, vec![running(PID)]);
    assert_eq!(tracker.threads(PID).len(), 1);
    tracker.apply(held_by(605 * S, 500 * S + 3));
    assert!(tracker.threads(PID).is_empty() && tracker.epoll(PID).is_none());
    assert_eq!(tracker.threaded().count(), 0);
    // What it is does not change by not being looked at.
    assert!(tracker.process(PID).is_some());
}

#[test]
fn a_series_of_looks_ends_at_a_gap() {
    let since = |looks: &[u64]| {
        let mut tracker = tracker([]);
        for at in looks {
            looked_at(&mut tracker, at * S, vec![running(7)]);
        }
        tracker.running_since(7)
    };
    assert_eq!(since(&[600, 630, 660]), Some(600 * S + 1));
    // A day between two looks says nothing about the day.
    assert_eq!(since(&[600, 87_000]), Some(87_000 * S + 1));
    // A look at which it did not run ends the series, and one without it.
    let mut tracker = tracker([]);
    looked_at(&mut tracker, 600 * S, vec![running(7)]);
    looked_at(&mut tracker, 601 * S, Vec::new());
    assert_eq!(tracker.running_since(7), None);
    looked_at(&mut tracker, 602 * S, vec![running(7)]);
    assert_eq!(tracker.running_since(7), Some(602 * S + 1));
    // And not looked at again, it is unknown.
    tracker.apply(inventory(604 * S, true, vec![item(CLOSE_WAIT, 110 * S)]));
    assert_eq!(tracker.running_since(7), None);
}

#[test]
fn samples_hold_for_as_long_as_their_thread_runs_on() {
    let frame = || Frame {
        function: Some("compute".to_owned()),
        ..Frame::default()
    };
    let samples = |began| Samples {
        tid: 7,
        began,
        moments: Moments {
            from: 601 * S,
            to: 602 * S,
            count: 60,
            inside: 58,
        },
        stack: vec![frame()],
        frames_at: Vec::new(),
    };
    let told_after = |began: u64, looks: &[(u64, bool)]| {
        let mut tracker = tracker([]);
        let of_7 = |runs| if runs { vec![running(7)] } else { Vec::new() };
        looked_at(&mut tracker, 600 * S, of_7(true));
        let threads = vec![samples(began)];
        tracker.apply(Input::Samples { pid: PID, threads });
        for (at, runs) in looks {
            looked_at(&mut tracker, at * S, of_7(*runs));
        }
        let thread = tracker.threads(PID).first()?.clone();
        let told = thread.sampled.map(|moments| moments.inside);
        assert_eq!(told.is_some(), !thread.stack.is_empty());
        told
    };
    assert_eq!(told_after(0, &[]), Some(58));
    assert_eq!(told_after(0, &[(603, true), (640, true)]), Some(58));
    // A look at which it did not run, a minute without samples, a thread that has its number now.
    assert_eq!(told_after(0, &[(603, false), (604, true)]), None);
    assert_eq!(told_after(0, &[(630, true), (660, true)]), None);
    let mut other = running(7);
    other.began = 50 * S;
    let mut tracker = tracker([]);
    looked_at(&mut tracker, 600 * S, vec![other.clone()]);
    let threads = vec![samples(20 * S)];
    tracker.apply(Input::Samples { pid: PID, threads });
    assert_eq!(tracker.threads(PID)[0].sampled, None);
    // While it waits for a CPU its stack can be read, and is elsewhere.
    other.began = 0;
    other.stack = vec![Frame {
        function: Some("answer".to_owned()),
        ..Frame::default()
    }];
    looked_at(&mut tracker, 604 * S, vec![other]);
    let threads = vec![samples(0)];
    tracker.apply(Input::Samples { pid: PID, threads });
    let thread = &tracker.threads(PID)[0];
    assert_eq!(thread.sampled, None);
    assert_eq!(thread.stack[0].function.as_deref(), Some("answer"));
}
