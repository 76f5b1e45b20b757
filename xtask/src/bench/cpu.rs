//! CPU time of the whole machine between two moments. The tick of /proc/stat is 10 ms and its
//! figures are samples, so the time is summed over every thread's own exact clock; /proc/stat is
//! taken beside it as a cross-check. Time of interrupts that hit an idle CPU is only in the latter.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use super::proc;

/// Every thread's clock and the machine's, at one moment.
pub struct Sample {
    threads: BTreeMap<u32, Thread>,
    machine: Machine,
}

struct Thread {
    pid: u32,
    ns: u64,
}

/// Clock ticks of all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Machine {
    busy: u64,
    steal: u64,
}

/// CPU time between two samples in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// All threads of the machine but our own.
    pub machine: u64,
    pub load: u64,
    pub tool: u64,
    /// By /proc/stat.
    pub ticked: u64,
    pub stolen: u64,
}

impl Sample {
    pub fn take() -> Result<Self> {
        let me = std::process::id();
        let mut threads = BTreeMap::new();
        for pid in proc::processes() {
            if pid == me {
                continue;
            }
            for tid in proc::threads_of(pid) {
                if let Some(ns) = proc::run_ns(pid, tid) {
                    threads.insert(tid, Thread { pid, ns });
                }
            }
        }
        let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        Ok(Self {
            threads,
            machine: Machine::parse(&stat).context("understand /proc/stat")?,
        })
    }

    /// What was spent since `before`; a thread that ended between the two counts for nothing.
    pub fn since(&self, before: &Self, load: u32, tool: Option<u32>) -> Spent {
        let mut spent = Spent::default();
        for (tid, thread) in &self.threads {
            let earlier = before.threads.get(tid).map_or(0, |thread| thread.ns);
            let ns = thread.ns.saturating_sub(earlier);
            spent.machine += ns;
            if thread.pid == load {
                spent.load += ns;
            }
            if Some(thread.pid) == tool {
                spent.tool += ns;
            }
        }
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let ns = |now: u64, then: u64| now.saturating_sub(then) * tick;
        spent.ticked = ns(self.machine.busy, before.machine.busy);
        spent.stolen = ns(self.machine.steal, before.machine.steal);
        spent
    }
}

impl Machine {
    /// user nice system idle iowait irq softirq steal; guest time is already in user.
    fn parse(stat: &str) -> Option<Self> {
        let first = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = first
            .split_ascii_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        match ticks.as_slice() {
            [user, nice, system, _, _, irq, softirq, steal, ..] => Some(Self {
                busy: user + nice + system + irq + softirq,
                steal: *steal,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_ticks_are_not_busy() {
        let stat = "cpu  10 20 30 1000 2000 4 5 6 7 8\ncpu0 1 2 3\n";
        assert_eq!(Machine::parse(stat), Some(Machine { busy: 69, steal: 6 }));
        assert_eq!(Machine::parse("intr 1 2"), None);
    }

    #[test]
    fn a_process_is_found_among_the_machine() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let before = Sample::take().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let spent = Sample::take().unwrap().since(&before, child.id(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(spent.load > 0 && spent.load <= spent.machine, "{spent:?}");
        assert_eq!(spent.tool, 0);
    }
}
