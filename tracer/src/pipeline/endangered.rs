//! When open connections are looked at for signs that they will get stuck, and who holds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    session::{Session, ns},
    trouble::Trouble,
};
use crate::{
    model::input::{Connection, Endangered, Input, OpenLook, Warning},
    options::Mode,
    probe::{host::mono_now_ns, netns},
    source::{descriptors, process, sockdiag},
};

/// Network namespaces whose connections are listed at one look.
const MAX_NAMESPACES: usize = 8;
/// Processes that are read for one look.
const MAX_PROCESSES: usize = 64;
/// Between two looks, whatever the threshold: each goes through all connections of the host.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct OpenLooks {
    last: Option<Instant>,
    /// How many were in danger for the threshold, at the last look and at the one that was reported.
    long: usize,
    told: usize,
    /// Time the last look took.
    took: Duration,
}

impl OpenLooks {
    /// The report would say another number.
    pub(super) fn has_news(&self) -> bool {
        self.long != self.told
    }

    pub(super) fn reported(&mut self) {
        self.told = self.long;
    }
}

/// The open connections of the host that show a sign of danger.
struct Open {
    /// When the list was begun, and how long it took.
    at: u64,
    took: Duration,
    /// By network namespace, the own one first.
    spaces: Vec<(u64, Listed)>,
    /// Namespaces there are.
    all: usize,
}

struct Listed {
    /// There are MPTCP connections in `CLOSE_WAIT`.
    multipath: bool,
    open: io::Result<Vec<Connection>>,
}

impl Open {
    fn list() -> Self {
        let began = Instant::now();
        let own = netns::own();
        let mut spaces: Vec<_> = netns::all().into_iter().collect();
        spaces.sort_by_key(|(inode, _)| Some(*inode) != own);
        let all = spaces.len();
        let at = mono_now_ns();
        let list = |(inode, path): (u64, PathBuf)| {
            let listed = Listed {
                // Where it cannot be asked, the kernel knows no MPTCP, or does not tell.
                multipath: sockdiag::multipath::half_closed(&path).unwrap_or(0) > 0,
                open: sockdiag::endangered(&path),
            };
            (inode, listed)
        };
        let spaces = spaces.into_iter().take(MAX_NAMESPACES).map(list).collect();
        Self {
            at,
            took: began.elapsed(),
            spaces,
            all,
        }
    }
}

impl Session<'_> {
    /// Twice in the threshold, and less often where a look takes long.
    pub(super) fn look_at_open_in_time(&mut self) -> Result<(), Trouble> {
        let pause = (self.options.min_age / 2).clamp(OFTEN, SELDOM);
        let pause = pause.max(self.open_looks.took * 50);
        let is_run = matches!(self.options.mode, Mode::Run(_));
        if is_run || (self.open_looks.last).is_some_and(|last| last.elapsed() < pause) {
            return Ok(());
        }
        self.look_at_open()
    }

    pub(super) fn look_at_open(&mut self) -> Result<(), Trouble> {
        self.take_open(Open::list())
    }

    /// An inspection, and a look at open connections, at once: each of them waits for the kernel most of its time.
    pub(super) fn inspect_and_look_at_open(&mut self) -> Result<(), Trouble> {
        let listing = std::thread::Builder::new().spawn(Open::list);
        let inspected = self.inspect();
        // Where no thread can be had, one after the other.
        let listed = listing.ok().and_then(|listing| listing.join().ok());
        inspected?;
        self.take_open(listed.unwrap_or_else(Open::list))
    }

    fn take_open(&mut self, open: Open) -> Result<(), Trouble> {
        let Open {
            at,
            took,
            spaces,
            all,
        } = open;
        let began = Instant::now();
        if all > MAX_NAMESPACES {
            let text = format!(
                "there are {all} network namespaces: what is about to be stuck is told of {MAX_NAMESPACES} of them"
            );
            self.warn([Warning::new("open-connections-unlisted", &"", text)])?;
        }
        let mut found = Vec::new();
        for (inode, Listed { multipath, open }) in spaces {
            if multipath {
                self.tell_of_multipath(inode)?;
            }
            match open {
                Ok(connections) => found.extend(connections),
                // Its last process has gone since.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let text = format!(
                        "the open connections of network namespace {inode} cannot be listed ({error}): which of them \
                         are about to be stuck is not known"
                    );
                    self.warn([Warning::new("open-connections-unlisted", &inode, text)])?;
                }
            }
        }
        // Only of those that stay so: a full window is everyday life.
        let known: BTreeSet<u64> = (self.tracker.in_danger())
            .map(|socket| socket.connection.cookie)
            .collect();
        let stay = |cookie: u64| known.contains(&cookie);
        let inodes: BTreeSet<u64> = found
            .iter()
            .filter(|connection| stay(connection.cookie) && connection.inode != 0)
            .map(|connection| connection.inode)
            .collect();
        let holders = if inodes.is_empty() {
            BTreeMap::new()
        } else {
            descriptors::holders(&inodes)
        };
        let pids: BTreeSet<u32> = holders.values().flatten().copied().collect();
        let processes = pids
            .into_iter()
            .take(MAX_PROCESSES)
            .filter_map(|pid| process::read(pid, self.options.show_cmdline))
            .collect();
        let endangered = found
            .into_iter()
            .map(|connection| Endangered {
                holders: holders.get(&connection.inode).cloned().unwrap_or_default(),
                connection,
            })
            .collect();
        self.feed(Input::OpenLook(OpenLook {
            at,
            endangered,
            processes,
        }))?;
        let min_age = ns(self.options.min_age);
        let long =
            |socket: &&crate::track::InDanger| socket.until.saturating_sub(socket.since) >= min_age;
        self.open_looks.long = self.tracker.in_danger().filter(long).count();
        self.open_looks.took = took + began.elapsed();
        self.open_looks.last = Some(Instant::now());
        Ok(())
    }

    /// That there are some, not how many: their number changes, and a warning is told once.
    fn tell_of_multipath(&mut self, namespace: u64) -> anyhow::Result<()> {
        let text = format!(
            "MPTCP connections of network namespace {namespace} are in CLOSE_WAIT, which sockleak does not follow: `ss -M state \
             close-wait` lists them"
        );
        self.warn([Warning::new("multipath-not-followed", &namespace, text)])
    }
}
