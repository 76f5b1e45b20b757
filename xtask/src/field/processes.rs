//! All that a case starts is a descendant of this process, daemons too, and is ended by its pid.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// From now on orphans of descendants come back to this process.
pub fn adopt() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("become the reaper of what the cases start")
}

/// Every living process below this one.
pub fn descendants() -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![std::process::id()];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            found.push(*child);
            open.push(*child);
        }
    }
    found
}

/// The name of a process may hold anything, a `)` too.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// TERM, then INT (the fast shutdown of some databases), then KILL.
pub fn end_all() {
    let steps = [
        (Signal::TERM, Duration::from_millis(1500)),
        (Signal::INT, Duration::from_millis(1500)),
        (Signal::KILL, Duration::from_secs(5)),
    ];
    for (signal, patience) in steps {
        for pid in descendants() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended by itself since.
                let _ = kill_process(pid, signal);
            }
        }
        let end = Instant::now() + patience;
        while Instant::now() < end {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            if descendants().is_empty() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent("7 (a) b) S 3 7 7"), Some(3));
        assert_eq!(parent("7"), None);
    }
}
