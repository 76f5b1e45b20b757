//! Decoded ring records as inputs.

use tracer_common::{
    decode::Record,
    event::{FLAG_DEAD, FLAG_EXITING, FLAG_PROCESS, Transition as Wire},
};

use crate::model::{
    input::{Input, Task, Transition},
    socket::Ends,
};
use crate::probe::table;

/// The inputs a record stands for. Stack copies and process events concern the symboliser, not the
/// tracker, and give none.
pub fn inputs(record: &Record) -> Option<Input> {
    match record {
        Record::Transition(wire) => Some(Input::Transition(transition(wire))),
        Record::Destroyed(wire) => Some(Input::Destroyed(transition(wire))),
        Record::Spill(spill) => {
            let promoted = table::promote(spill.way, &spill.facts);
            let (cookie, history) = table::spilled(spill.way, &spill.facts);
            Some(promoted.map_or(Input::History { cookie, history }, Input::Promoted))
        }
        Record::Process(_) | Record::Stack(_) => None,
    }
}

pub fn transition(wire: &Wire) -> Transition {
    let task = (wire.flags & FLAG_PROCESS != 0).then(|| Task {
        pid: wire.tgid,
        tid: wire.tid,
        comm: comm(&wire.comm),
        exiting: wire.flags & FLAG_EXITING != 0,
    });
    Transition {
        at: wire.header.at,
        cookie: wire.cookie,
        since: wire.since,
        stack: wire.stack,
        ends: Ends::from_wire(&wire.endpoints),
        netns: wire.netns,
        old: wire.old,
        new: wire.new,
        shutdown: wire.shutdown,
        dead: wire.flags & FLAG_DEAD != 0,
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
