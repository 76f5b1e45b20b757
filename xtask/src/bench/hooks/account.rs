//! The kernel's account of the programs that a process holds.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use super::{Plan, Spent};
use crate::bench::churn::WARM_UP;
use crate::bench::generator::Generator;
use crate::bench::tool::{Kind, Tool};
use crate::bench::{alone, proc};

const LEARNT: Duration = Duration::from_secs(2);

/// Runs and nanoseconds by program name.
pub type Account = BTreeMap<String, (u64, u64)>;

/// What each program of one arm spends on each job.
pub fn spent(name: &str, kind: Kind, plan: Plan, generator: &mut Generator) -> Result<Spent> {
    alone::wait()?;
    let mut tool = Tool::start(name, kind)?;
    tool.wait_until_attached()?;
    // Counting ends when this is closed.
    let _counting = enable_stats(Stats::RunTime).context("ask the kernel to time BPF programs")?;
    for job in WARM_UP {
        generator.run(job)?;
    }
    // The first calls of a program cost more: they are copied, and the ways through its code are learnt from them.
    sleep(LEARNT);
    for job in WARM_UP {
        generator.run(job)?;
    }
    let mut accounts = [Account::new(), Account::new()];
    for (job, account) in plan.work().into_iter().zip(&mut accounts) {
        let before = counts(tool.pid());
        generator.run(job)?;
        *account = counts(tool.pid());
        for (name, (runs, ns)) in account {
            let (runs_before, ns_before) = before.get(name).copied().unwrap_or_default();
            *runs = runs.saturating_sub(runs_before);
            *ns = ns.saturating_sub(ns_before);
        }
    }
    tool.stop()?;
    let [connections, reads] = accounts;
    Ok(Spent { connections, reads })
}

/// Since they were loaded.
pub fn counts(pid: u32) -> Account {
    let held = proc::fdinfo_numbers(pid, "prog_id");
    loaded_programs()
        .flatten()
        .filter(|program| held.contains(&program.id()))
        .map(|program| {
            let name = program.name_as_str().unwrap_or("unnamed").to_owned();
            let ns = u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
            (name, (program.run_count(), ns))
        })
        .collect()
}
