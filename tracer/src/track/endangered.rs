//! Open connections that show a sign of danger, from one look to the next: since when, without a read in between.

use std::collections::BTreeMap;

use crate::model::{
    input::{Connection, Endangered, OpenLook, Process},
    report::Danger,
};

use super::Tracker;

/// Beyond them those with the newest cookies are not told.
const MAX_IN_DANGER: usize = 4096;

/// One that showed the same at every look since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDanger {
    pub connection: Connection,
    pub danger: Danger,
    pub holders: Vec<u32>,
    /// The first look at which it did, and the last (`CLOCK_MONOTONIC`, ns).
    pub since: u64,
    pub until: u64,
}

#[derive(Default)]
pub(super) struct AllInDanger {
    sockets: BTreeMap<u64, InDanger>,
    processes: BTreeMap<u32, Process>,
}

impl AllInDanger {
    /// What the look does not show is over: closed, or its data read, or its peer heard of.
    pub(super) fn look(&mut self, look: OpenLook) {
        let mut before = std::mem::take(&mut self.sockets);
        for Endangered {
            connection,
            holders,
        } in look.endangered
        {
            let Some(danger) = connection.danger() else {
                continue;
            };
            let goes_on = before.remove(&connection.cookie).filter(|known| {
                known.danger == danger
                    && known.connection.bytes_read() == connection.bytes_read()
                    && known.connection.bytes_read().is_some()
            });
            let since = goes_on.map_or(look.at, |known| known.since);
            let known = InDanger {
                connection,
                danger,
                holders,
                since,
                until: look.at,
            };
            self.sockets.insert(connection.cookie, known);
        }
        while self.sockets.len() > MAX_IN_DANGER {
            self.sockets.pop_last();
        }
        let processes = look.processes.into_iter();
        self.processes = processes.map(|process| (process.pid, process)).collect();
    }
}

impl Tracker {
    pub fn in_danger(&self) -> impl Iterator<Item = &InDanger> {
        self.endangered.sockets.values()
    }

    /// As it was at the last look at open connections.
    pub fn endangered_process(&self, pid: u32) -> Option<&Process> {
        self.endangered.processes.get(&pid)
    }
}
