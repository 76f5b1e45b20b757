//! Fetches what the rules ask for before they can answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
};

use tracer_common::config::MAX_ASKED;

use super::{blaming, session::Session, start::without_threads, trouble::Trouble};
use crate::{
    diagnose,
    model::{
        actor::Actor,
        input::{Activity, Connection, Input, Process, Relief, Thread, Warning},
        socket::LastOperation,
        stack::{Frame, PYTHON},
        task::is_for_virtual_threads,
        wait::Wait,
    },
    probe::{host::mono_now_ns, netns, table::MAX_LOOKED_AT},
    source::{epoll, jvm::Looked, listeners, process, sockdiag, tasks, threads},
    symbolize::blame::Policy,
};

/// Processes whose threads are looked at for one report: many services have one for each connection.
const MAX_THREADED: usize = MAX_ASKED as usize;
/// Threads whose last operation is looked at.
const MAX_WAITING: usize = 256;
/// Network namespaces whose connections are listed for one report.
const MAX_NAMESPACES: usize = 8;

impl Session<'_> {
    pub fn enrich(&mut self) -> Result<(), Trouble> {
        // What follows takes a while. A socket that reaches the threshold meanwhile has not been asked about, and
        // would be judged without its stacks: the report speaks of this moment.
        self.feed(Input::Tick { at: mono_now_ns() })?;
        self.take_samples()?;
        let policy = blaming::policy(self.options);
        let filter = &self.options.filter;
        if filter.comm.is_some() || filter.cgroup.is_some() {
            // Whom a filter means shows only when the processes are known.
            let all = self.data_requests(&policy).processes;
            let unknown = |pid: &u32| self.tracker.process(*pid).is_none();
            for pid in all.into_iter().filter(unknown).collect::<Vec<_>>() {
                if let Some(process) = process::read(pid, self.options.show_cmdline) {
                    self.feed(Input::Process(process))?;
                }
            }
        }
        let mut data_requests = self.data_requests(&policy);
        let besides = self.stacks.reads_and_writes_of(&data_requests.processes);
        self.name_stacks(
            std::mem::take(&mut data_requests.stacks)
                .into_iter()
                .chain(self.stacks.failed())
                .chain(besides)
                .collect(),
        )?;
        let processes: Vec<Process> = data_requests
            .busiest
            .iter()
            .filter_map(|pid| process::read(*pid, self.options.show_cmdline))
            .collect();
        let looked_at = processes.get(..MAX_THREADED).unwrap_or(&processes);
        self.read_threads(looked_at, &data_requests)?;
        for process in processes {
            self.feed(Input::Process(process))?;
        }
        let mut with_loops = Vec::new();
        for pid in data_requests.epolls {
            if let Some(interests) = epoll::read(pid) {
                if !interests.is_empty() {
                    with_loops.push(pid);
                }
                self.feed(Input::Epoll { pid, interests })?;
            }
        }
        self.watch_loops(&with_loops)?;
        self.enrich_neighbours(&data_requests.processes, &data_requests.namespaces)?;
        self.adjust_evidence()
    }

    fn data_requests(&self, policy: &Policy) -> diagnose::DataRequests {
        let blamer = |frames: &[Frame]| policy.blamed(frames);
        diagnose::data_requests(&self.tracker, &blamer, &|key| self.stacks.pid_of(key))
    }

    fn read_threads(
        &mut self,
        processes: &[Process],
        requests: &diagnose::DataRequests,
    ) -> anyhow::Result<()> {
        let looked = self.jvms.as_mut().map(|jvms| jvms.look(processes));
        let mut asked = requests.threads.clone();
        asked.extend(looked.iter().flat_map(Looked::waiting));
        let mut problem = None;
        let mut look = |pids: &[u32]| match self.live.threads(pids)? {
            Ok(seen) => Some(seen),
            Err(error) => {
                problem = Some(error.to_string());
                None
            }
        };
        let asked = threads::Asked {
            threads: &asked,
            goroutines: &requests.goroutines,
        };
        let seen = threads::read(processes, asked, &mut look, &mut self.symbolizer);
        let (mut threads, goroutines): (Vec<_>, Vec<_>) = seen
            .into_iter()
            .map(|seen| (seen.threads, seen.goroutines))
            .unzip();
        if let Some(reason) = problem {
            self.warn([Warning::new(
                "threads-unread",
                &"",
                without_threads(&reason),
            )])?;
        }
        if let Some((jvms, looked)) = self.jvms.as_mut().zip(looked) {
            let refused = jvms.name(looked, &mut threads);
            self.warn(refused)?;
        }
        self.note_running(processes, &threads, |tid| requests.threads.contains(&tid));
        self.read_tasks(processes, &threads, &requests.virtual_threads)?;
        self.read_listeners(processes, requests)?;
        let seen = threads.into_iter().zip(goroutines);
        for (process, (threads, goroutines)) in processes.iter().zip(seen) {
            let pid = process.pid;
            self.feed(Input::Threads { pid, threads })?;
            if let Some(all) = goroutines {
                self.feed(Input::Goroutines { pid, all })?;
            }
        }
        Ok(())
    }

    /// Of processes that execute Python, and of those that have virtual threads.
    fn read_tasks(
        &mut self,
        processes: &[Process],
        threads: &[Vec<Thread>],
        virtual_threads: &BTreeSet<u32>,
    ) -> anyhow::Result<()> {
        let is_python = |frame: &Frame| frame.module.as_deref() == Some(PYTHON);
        for (process, threads) in processes.iter().zip(threads) {
            let mut frames = threads.iter().flat_map(|thread| &thread.stack);
            let mut names = threads.iter().map(|thread| thread.comm.as_str());
            let has_virtual_threads =
                virtual_threads.contains(&process.pid) || names.any(is_for_virtual_threads);
            if (frames.any(is_python) || has_virtual_threads)
                && let Some(tasks) = tasks::read(process, &mut self.symbolizer)
            {
                let pid = process.pid;
                self.feed(Input::Tasks { pid, tasks })?;
            }
        }
        Ok(())
    }

    /// Of programs for Node.js.
    fn read_listeners(
        &mut self,
        processes: &[Process],
        requests: &diagnose::DataRequests,
    ) -> anyhow::Result<()> {
        for process in processes {
            let pid = process.pid;
            let asked = requests.listeners.get(&pid);
            let asked = asked.filter(|_| self.options.runtimes.node);
            if let Some(sockets) =
                asked.and_then(|asked| listeners::read(process, asked, &mut self.symbolizer))
            {
                self.feed(Input::Listeners { pid, sockets })?;
            }
        }
        Ok(())
    }

    pub(super) fn name_stacks(&mut self, keys: BTreeSet<u64>) -> anyhow::Result<()> {
        let mut warnings = Vec::new();
        let failed = self.stacks.failed();
        for key in keys {
            if self.tracker.stack(key).is_some() && !failed.contains(&key) {
                continue;
            }
            self.look_at_newcomers();
            let named = self.stacks.name(key, &mut self.symbolizer, &mut warnings);
            if let Some(stack) = named {
                self.feed(Input::Stack { key, stack })?;
            }
        }
        self.warn(warnings)
    }

    /// What the threads that wait did last: are they still at it?
    fn last_operations(&self, processes: &BTreeSet<u32>, activity: &[Activity]) -> BTreeSet<u64> {
        let threads = processes.iter().flat_map(|pid| self.tracker.threads(*pid));
        let waiting = threads.filter(|thread| thread.wait != Wait::Unknown);
        let waiting: BTreeSet<Actor> = waiting.map(Thread::actor).take(MAX_WAITING).collect();
        let mut newest: BTreeMap<Actor, LastOperation> = BTreeMap::new();
        let histories = activity.iter().map(|activity| activity.history);
        let operations = histories.flat_map(|history| [history.opened, history.used, history.eof]);
        for operation in operations
            .flatten()
            .filter(|operation| waiting.contains(&operation.actor()))
        {
            let known = newest.entry(operation.actor()).or_insert(operation);
            if operation.at > known.at {
                *known = operation;
            }
        }
        newest.values().map(|operation| operation.stack).collect()
    }

    /// Sockets that are not stuck, but may be why others are: what else the processes have touched, and
    /// what their threads are blocked on.
    fn enrich_neighbours(
        &mut self,
        processes: &BTreeSet<u32>,
        namespaces: &BTreeMap<u32, u32>,
    ) -> Result<(), Trouble> {
        let mut used_sockets = BTreeSet::new();
        if self.options.mode.follows_events() && !processes.is_empty() {
            let activity = self.live.table.used_by(processes);
            let activity =
                activity.map_err(|error| Trouble::of("read the kernel's socket table", error))?;
            if activity.is_none() {
                let text = format!(
                    "more than {MAX_LOOKED_AT} sockets are alive: what else the processes have touched is not \
                     looked at, so relays, pools and blocked owners may stay unknown"
                );
                self.warn([Warning::new("neighbours-not-looked-at", &"", text)])?;
            }
            let activity = activity.unwrap_or_default();
            used_sockets.extend(activity.iter().map(|activity| activity.cookie));
            let doing = self.last_operations(processes, &activity);
            self.feed(Input::Activity(activity))?;
            self.name_stacks(doing)?;
        }
        let blocked = processes.iter().flat_map(|pid| self.tracker.threads(*pid));
        let blocked: BTreeSet<u64> = blocked.flat_map(|thread| thread.wait.sockets()).collect();
        if used_sockets.is_empty() && blocked.is_empty() {
            return Ok(());
        }
        let mut connections = self.stuck_among(&blocked);
        for pid in namespaces.values().take(MAX_NAMESPACES) {
            let found = sockdiag::read(*pid, |connection| {
                used_sockets.contains(&connection.cookie) || blocked.contains(&connection.inode)
            });
            match found {
                Ok(found) => connections.extend(found),
                // The process has gone since.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let text = format!(
                        "the connections of pid {pid} that are not stuck cannot be listed ({error}): what \
                         its threads wait for is not known"
                    );
                    self.warn([Warning::new("connections-unlisted", &pid, text)])?;
                }
            }
        }
        self.feed(Input::Connections(connections))?;
        self.tell_relief(namespaces)?;
        Ok(())
    }

    /// Where the cause may be other connections, the report can say how to end them.
    fn tell_relief(&mut self, namespaces: &BTreeMap<u32, u32>) -> anyhow::Result<()> {
        let own_netns = netns::own().map_or(0, |inode| inode as u32);
        let others = namespaces.iter().filter(|(netns, _)| **netns != own_netns);
        let relief = Relief {
            kernel_can: sockdiag::can_destroy(),
            own_netns,
            namespaces: others.map(|(netns, pid)| (*netns, *pid)).collect(),
        };
        if self.tracker.relief() != Some(&relief) {
            self.feed(Input::Relief(relief))?;
        }
        Ok(())
    }

    /// `sock_diag` is not asked for these: there may be very many.
    fn stuck_among(&self, inodes: &BTreeSet<u64>) -> Vec<Connection> {
        let stuck = self.tracker.sockets();
        stuck
            .filter(|socket| inodes.contains(&socket.inode))
            .map(|socket| Connection {
                cookie: socket.cookie,
                inode: socket.inode,
                endpoints: socket.endpoints(),
                state: socket.state,
                recv_q: socket.recv_q,
                send_q: socket.send_q,
                moved: None,
                netns: socket.netns,
                tcp: None,
            })
            .collect()
    }
}
