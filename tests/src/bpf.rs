//! What a process holds of the BPF subsystem, by the kernel's own account in /proc/PID/fdinfo,
//! and whether an object still exists once the process is gone.
use crate::wait::poll_for;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

const SETTLED: Duration = Duration::from_millis(300);

/// Identifiers of the programs, maps and links a process holds open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    pub programs: BTreeSet<u32>,
    pub maps: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
}

pub fn held_by(pid: u32) -> Held {
    let mut held = Held::default();
    let Ok(listing) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return held;
    };
    for entry in listing.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let Ok(id) = value.trim().parse() else {
                continue;
            };
            match key {
                "prog_id" => held.programs.insert(id),
                "map_id" => held.maps.insert(id),
                "link_id" => held.links.insert(id),
                _ => false,
            };
        }
    }
    held
}

/// Whether `pid` comes to have links to the kernel, and stops adding more, before the limit.
pub fn has_attached(pid: u32, limit: Duration) -> bool {
    let mut last = (BTreeSet::new(), Instant::now());
    let settled = poll_for(limit, || {
        let links = held_by(pid).links;
        if links != last.0 {
            last = (links, Instant::now());
        }
        (!last.0.is_empty() && last.1.elapsed() > SETTLED).then_some(())
    });
    settled.is_some()
}

/// Whether the kernel still knows this object; asks `bpftool`.
pub fn exists(kind: &str, id: u32) -> bool {
    let program = crate::skip::find_program("bpftool").expect("bpftool");
    let mut command = Command::new(program);
    let output = command.args([kind, "show", "id", &id.to_string()]).output();
    output.expect("run bpftool").status.success()
}
