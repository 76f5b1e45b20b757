//! Did a filter ever match anything? One on a name nobody has, or on a port nobody uses, would report
//! nothing and look like good news.

use std::time::{Duration, Instant};

use crate::{
    exit::Explained,
    model::input::Item,
    options::{Comm, Filter},
    source::process,
};

/// How often /proc is searched for a process of a name that has not been seen.
const EVERY: Duration = Duration::from_secs(1);

/// The parts of a filter that nothing has matched yet.
pub struct Unmatched {
    comm: Option<Comm>,
    ports: Vec<u16>,
    searched: Option<Instant>,
}

impl Unmatched {
    pub fn new(filter: &Filter) -> Self {
        Self {
            comm: filter.comm.clone(),
            ports: filter.ports.clone(),
            searched: None,
        }
    }

    /// Searches for a process of the name, unless that was done a moment ago.
    pub fn look_for_process(&mut self) {
        let Some(comm) = &self.comm else {
            return;
        };
        if self.searched.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.searched = Some(Instant::now());
        if process::any_named(|name| comm.matches(name)) {
            self.comm = None;
        }
    }

    pub fn looks_for_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// `calls` have been made on sockets with one of the ports; `items` exist.
    pub fn look_for_ports(&mut self, calls: u64, items: &[Item]) {
        let fits = |item: &Item| {
            self.ports.contains(&item.endpoints.local.port())
                || self.ports.contains(&item.endpoints.remote.port())
        };
        if calls > 0 || items.iter().any(fits) {
            self.ports.clear();
        }
    }

    /// What to tell the user at the end.
    pub fn explain(&self) -> Option<Explained> {
        if let Some(comm) = &self.comm {
            return Some(Explained::new(
                format!("no process is named {}", comm.name()),
                "it did not run meanwhile, or its name is another than that of its program file",
                "take the name that `ps -eo comm` shows, or use --pid",
            ));
        }
        if self.ports.is_empty() {
            return None;
        }
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let (noun, none) = if ports.len() == 1 {
            ("port", "it")
        } else {
            ("ports", "any of them")
        };
        Some(Explained::new(
            format!("no socket uses {noun} {}", ports.join(", ")),
            format!("nothing listened or connected with {none} meanwhile"),
            "look the port up with `ss -tan`",
        ))
    }
}
