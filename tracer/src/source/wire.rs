//! Decoded ring records as inputs.

use tracer_common::{
    decode::Record,
    event::{
        EPOLL_ADD, EPOLL_DEL, EPOLL_MOD, EpollControl, FLAG_DEAD, FLAG_EXITING, FLAG_HAS_SOCKET,
        FLAG_KILLED, FLAG_PROCESS, FLAG_UNTOUCHED, PROCESS_EXEC, PROCESS_EXIT, Transition as Wire,
    },
};

use crate::model::{
    input::{EpollChange, EpollOperation, Input, Task, Transition},
    socket::Endpoints,
};
use crate::probe::table;

/// The inputs a record stands for. Stack copies concern the symboliser, not the tracker, and give none.
pub fn inputs(record: &Record) -> Option<Input> {
    match record {
        Record::Transition(wire) => Some(Input::Transition(transition(wire))),
        Record::Destroyed(wire) => Some(Input::Destroyed(transition(wire))),
        Record::Eviction(evict) => {
            let candidate = table::admit_candidate(evict.slot, &evict.record);
            let (cookie, history) = table::slots_evicted(evict.slot, &evict.record);
            Some(candidate.map_or(Input::History { cookie, history }, Input::StuckCandidate))
        }
        Record::Process(process) => {
            let (pid, at) = (process.tgid, process.header.at);
            match process.what {
                PROCESS_EXIT => Some(Input::ProcessEnded { pid, at }),
                PROCESS_EXEC => Some(Input::Executed { pid, at }),
                _ => None,
            }
        }
        Record::Executed(executed) => Some(Input::Executed {
            pid: executed.tgid,
            at: executed.header.at,
        }),
        Record::Epoll(wire) => epoll_change(wire).map(|change| Input::EpollChanges(vec![change])),
        Record::Stack(_) | Record::Sampled(_) => None,
    }
}

/// `None` for a change that this version does not know.
fn epoll_change(wire: &EpollControl) -> Option<EpollChange> {
    let change = match wire.operation {
        EPOLL_ADD => EpollOperation::Add,
        EPOLL_MOD => EpollOperation::Modify,
        EPOLL_DEL => EpollOperation::Remove,
        _ => return None,
    };
    Some(EpollChange {
        at: wire.header.at,
        pid: wire.tgid,
        tid: wire.tid,
        set: wire.set,
        cookie: wire.cookie,
        stack: wire.stack,
        change,
        events: wire.events,
    })
}

pub fn transition(wire: &Wire) -> Transition {
    let task = (wire.flags & FLAG_PROCESS != 0).then(|| Task {
        pid: wire.tgid,
        tid: wire.tid,
        comm: comm(&wire.comm),
        exiting: wire.flags & FLAG_EXITING != 0,
        killed: wire.flags & FLAG_KILLED != 0,
    });
    Transition {
        at: wire.header.at,
        cookie: wire.cookie,
        since: wire.since,
        stack: wire.stack,
        endpoints: Endpoints::from_wire(&wire.endpoints),
        netns: wire.netns,
        old: wire.old,
        new: wire.new,
        shutdown: wire.shutdown,
        dead: wire.flags & FLAG_DEAD != 0,
        has_socket: wire.flags & FLAG_HAS_SOCKET != 0,
        untouched: wire.flags & FLAG_UNTOUCHED != 0,
        recv_q: Some(wire.recv_q),
        task,
    }
}

/// A task's name up to its terminator; the task chooses it, so it may be anything.
pub fn comm(bytes: &[u8; 16]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned()
}

#[cfg(test)]
mod tests {
    use tracer_common::{
        endpoint::Endpoints,
        event::{Eviction, Header, KIND_DESTROYED, KIND_EVICTION, KIND_TRANSITION, Process},
        state::{AF_INET, AF_INET6, CLOSE, CLOSE_WAIT, ESTABLISHED, LAST_ACK},
        table::{Entry, LastOperation, Name, OPERATION_RECV, Operation, Slot, SlotRecord},
    };
    use zerocopy::FromZeros;

    use super::*;
    use crate::model::socket::SocketOperation;

    fn endpoints(family: u16) -> Endpoints {
        Endpoints {
            local_addr: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            remote_addr: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
            local_port: 8080,
            remote_port: 40_000,
            family,
            reserved: 0,
        }
    }

    fn change(flags: u8) -> Wire {
        Wire {
            header: Header {
                kind: KIND_TRANSITION,
                len: 112,
                at: 9,
            },
            cookie: 7,
            since: 5,
            stack: 3,
            endpoints: endpoints(AF_INET),
            netns: 1,
            tgid: 100,
            tid: 101,
            old: CLOSE_WAIT,
            new: LAST_ACK,
            flags,
            shutdown: 3,
            comm: *b"server\0leftover\0",
            recv_q: 1,
            reserved: 0,
        }
    }

    #[test]
    fn a_task_is_named_only_where_the_kernel_proved_it() {
        assert_eq!(transition(&change(FLAG_HAS_SOCKET | FLAG_DEAD)).task, None);
        let proven = transition(&change(FLAG_PROCESS));
        let task = proven.task.unwrap();
        assert_eq!(
            (task.pid, task.tid, task.comm.as_str()),
            (100, 101, "server")
        );
        assert!(!task.exiting && !proven.dead);
        let exiting = transition(&change(FLAG_PROCESS | FLAG_EXITING | FLAG_DEAD));
        assert!(exiting.task.unwrap().exiting && exiting.dead);
    }

    #[test]
    fn addresses_are_read_by_their_family() {
        let mut wire = change(0);
        assert_eq!(
            transition(&wire).endpoints.local.to_string(),
            "10.0.0.1:8080"
        );
        wire.endpoints = endpoints(AF_INET6);
        assert_eq!(
            transition(&wire).endpoints.remote.to_string(),
            "[a00:2::2]:40000"
        );
    }

    #[test]
    fn a_comm_may_be_anything() {
        assert_eq!(comm(&[b'x'; 16]), "x".repeat(16));
        assert_eq!(comm(&[0; 16]), "");
        assert_eq!(
            comm(b"\xff\xfe\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            "\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn the_end_of_a_socket_is_told_apart_from_a_change() {
        let mut wire = change(0);
        wire.header.kind = KIND_DESTROYED;
        let input = inputs(&Record::Destroyed(wire)).unwrap();
        assert!(matches!(input, Input::Destroyed(change) if change.cookie == 7));
    }

    fn evict(key: u64, state: u8) -> Eviction {
        let entry = Entry {
            error: 104,
            old_state: ESTABLISHED,
            shutdown: 1,
            only_fin_unread: false,
        };
        let mut record = SlotRecord::new_zeroed();
        record.name = Name::new(7, 1, entry, endpoints(AF_INET));
        let noted = Operation {
            stack: 3,
            at: 2,
            sp: 0x7ffe_0000,
            tgid: 100,
            tid: 101,
            kind: OPERATION_RECV,
            waits: 12,
        };
        record.opened = LastOperation::new(8, noted);
        record.used = LastOperation::new(7, noted);
        Eviction {
            header: Header {
                kind: KIND_EVICTION,
                len: size_of::<Eviction>() as u32,
                at: 9,
            },
            slot: Slot {
                key,
                since_state: Slot::pack(1600, state),
            },
            record,
        }
    }

    /// The operation on another socket, left in the same place of the table, is not this one's.
    #[test]
    fn an_evicted_stuck_socket_brings_all_that_holds() {
        let Some(Input::StuckCandidate(candidate)) = inputs(&Record::Eviction(evict(7, CLOSE)))
        else {
            panic!("its name holds");
        };
        assert_eq!(
            (candidate.cookie, candidate.state, candidate.since),
            (7, CLOSE, 1600)
        );
        assert_eq!(
            (candidate.entry.error, candidate.entry.old_state),
            (104, ESTABLISHED)
        );
        assert_eq!(candidate.history.opened, None);
        let used = candidate.history.used.unwrap();
        assert_eq!(used.kind, SocketOperation::Recv);
        assert_eq!((used.sp, used.switches), (0x7ffe_0000, 12));
    }

    #[test]
    fn an_evicted_socket_whose_name_does_not_hold_brings_only_its_history() {
        let input = inputs(&Record::Eviction(evict(8, CLOSE)));
        let Some(Input::History { cookie, history }) = input else {
            panic!("no name, no socket to follow");
        };
        assert_eq!(cookie, 8);
        assert!(history.opened.is_some() && history.used.is_none());
    }

    #[test]
    fn a_new_program_and_an_end_are_inputs() {
        let told = |what| {
            inputs(&Record::Process(Process {
                header: change(0).header,
                tgid: 1,
                what,
            }))
        };
        assert_eq!(told(PROCESS_EXEC), Some(Input::Executed { pid: 1, at: 9 }));
        assert_eq!(told(77), None);
        assert_eq!(
            told(PROCESS_EXIT),
            Some(Input::ProcessEnded { pid: 1, at: 9 })
        );
    }
}
