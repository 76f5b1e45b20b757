//! Fetches what the rules ask for before they can answer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::{blaming, session::Session};
use crate::{
    diagnose,
    model::input::{Connection, Input},
    options::Mode,
    probe::host::mono_now_ns,
    source::{epoll, process, sockdiag, threads},
};

/// Processes whose threads are looked at for one report.
const MAX_THREADED: usize = 8;
/// Network namespaces whose connections are listed for one report.
const MAX_NAMESPACES: usize = 8;

impl Session<'_> {
    pub fn inquire(&mut self) -> anyhow::Result<()> {
        let policy = blaming::policy(self.options);
        let filter = &self.options.filter;
        if filter.comm.is_some() || filter.cgroup.is_some() {
            // Whom a filter means shows only when the processes are known.
            let all = diagnose::demands(&self.tracker, &|frames| policy.blamed(frames)).processes;
            let unknown = |pid: &u32| self.tracker.process(*pid).is_none();
            for pid in all.into_iter().filter(unknown).collect::<Vec<_>>() {
                if let Some(process) = process::read(pid, self.options.show_cmdline) {
                    self.feed(Input::Process(process))?;
                }
            }
        }
        let demands = diagnose::demands(&self.tracker, &|frames| policy.blamed(frames));
        let mut warnings = Vec::new();
        let wanted = demands.stacks.into_iter().chain(self.stacks.failed());
        for key in wanted.collect::<BTreeSet<_>>() {
            let named = self.stacks.name(key, &mut self.symbolizer, &mut warnings);
            if let Some(stack) = named {
                self.feed(Input::Stack { key, stack })?;
            }
        }
        for (index, pid) in demands.processes.iter().copied().enumerate() {
            let Some(process) = process::read(pid, self.options.show_cmdline) else {
                continue;
            };
            if index < MAX_THREADED {
                let mut threads = threads::read(&process, &demands.threads, &mut self.symbolizer);
                threads::find_sockets(pid, &mut threads);
                self.feed(Input::Threads { pid, threads })?;
            }
            self.feed(Input::Process(process))?;
        }
        for pid in demands.epolls {
            if let Some(interests) = epoll::read(pid) {
                self.feed(Input::Epoll { pid, interests })?;
            }
        }
        self.inquire_neighbours(&demands.processes, &demands.namespaces)?;
        self.warn(warnings)?;
        self.feed(Input::Tick { at: mono_now_ns() })
    }

    /// Sockets that are not stuck, but may be why others are: what else the processes have touched, and
    /// what their threads are blocked on.
    fn inquire_neighbours(
        &mut self,
        processes: &BTreeSet<u32>,
        namespaces: &BTreeMap<u32, u32>,
    ) -> anyhow::Result<()> {
        let mut touched = BTreeSet::new();
        if self.options.mode == Mode::Watch && !processes.is_empty() {
            let activity = self.live.table.touched_by(processes);
            let activity = activity.context("read the kernel's socket table")?;
            touched.extend(activity.iter().map(|activity| activity.cookie));
            self.feed(Input::Activity(activity))?;
        }
        let blocked = processes.iter().flat_map(|pid| self.tracker.threads(*pid));
        let blocked: BTreeSet<u64> = blocked.filter_map(|thread| thread.socket).collect();
        if touched.is_empty() && blocked.is_empty() {
            return Ok(());
        }
        let mut connections = self.stuck_among(&blocked);
        for pid in namespaces.values().take(MAX_NAMESPACES) {
            let found = sockdiag::read(*pid, |connection| {
                touched.contains(&connection.cookie) || blocked.contains(&connection.inode)
            });
            match found {
                Ok(found) => connections.extend(found),
                Err(error) => self.feed(Input::Warning(format!(
                    "the connections of pid {pid} that are not stuck cannot be listed ({error}): what its \
                     threads wait for is not known"
                )))?,
            }
        }
        self.feed(Input::Connections(connections))
    }

    /// `sock_diag` is not asked for these: there may be very many.
    fn stuck_among(&self, inodes: &BTreeSet<u64>) -> Vec<Connection> {
        let stuck = self.tracker.sockets().into_iter();
        stuck
            .filter(|socket| inodes.contains(&socket.inode))
            .map(|socket| Connection {
                cookie: socket.cookie,
                inode: socket.inode,
                ends: socket.ends,
                state: socket.state,
                recv_q: socket.recv_q,
                send_q: socket.send_q,
            })
            .collect()
    }
}
