//! Where the time goes: the kernel's own account of each program of `watch`. It counts what runs
//! inside a program and not what it takes to get there, so it ranks programs and is no total.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};

use super::arms::{ARMS, FLOOR, WATCH};
use super::round::{Plan, WARM_UP};
use crate::bench::document::Table;
use crate::bench::generator::Generator;
use crate::bench::load::Job;
use crate::bench::tool::Tool;
use crate::bench::{alone, proc};

/// Runs and nanoseconds by program name.
type Account = BTreeMap<String, (u64, u64)>;

/// A table of programs, for the document.
pub fn look(plan: &Plan, generator: &mut Generator) -> Result<String> {
    let work = [Job::Connections(plan.connections), Job::Reads(plan.reads)];
    let watch = account(WATCH, work, generator)?;
    let floor = account(FLOOR, work, generator)?;
    let mut table = Table::new(&[
        "program",
        "runs per connection",
        "ns per run",
        "ns per connection",
        "ns per run on a long connection's reads",
    ]);
    let [connections, reads] = &watch;
    for (name, (runs, ns)) in connections {
        let per_run = |(runs, ns): &(u64, u64)| (*runs > 0).then(|| *ns as f64 / *runs as f64);
        let count = f64::from(plan.connections);
        // Seen too rarely to have a part in it.
        if (*runs as f64) < count / 100.0 {
            continue;
        }
        let reading = reads
            .get(name)
            .filter(|(runs, _)| *runs > u64::from(plan.reads) / 2)
            .and_then(per_run);
        table.row(&[
            format!("`{name}`"),
            format!("{:.1}", *runs as f64 / count),
            per_run(&(*runs, *ns)).map_or_else(String::new, |ns| format!("{ns:.0}")),
            format!("{:.0}", *ns as f64 / count),
            reading.map_or_else(String::new, |ns| format!("{ns:.0}")),
        ]);
    }
    let (runs, ns) = floor
        .iter()
        .flat_map(BTreeMap::values)
        .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    Ok(format!(
        "\n### Where the time of `watch` goes\n\nBy the kernel's statistics of BPF programs, in one run \
         of its own. They leave out the way into a program, and include reading the clock: an empty \
         program takes {:.0} ns in them.\n\n{}",
        ns as f64 / runs.max(1) as f64,
        table.text()
    ))
}

/// What each program of an arm spent on each job.
fn account(name: &str, work: [Job; 2], generator: &mut Generator) -> Result<[Account; 2]> {
    let arm = ARMS.iter().find(|arm| arm.name == name);
    let kind = arm.and_then(|arm| arm.kind).context("no such arm")?;
    alone::wait()?;
    let mut tool = Tool::start(name, kind)?;
    tool.wait_until_attached()?;
    // Counting ends when this is closed.
    let _counting = enable_stats(Stats::RunTime).context("ask the kernel to time BPF programs")?;
    for job in WARM_UP {
        generator.run(job)?;
    }
    let mut accounts = [Account::new(), Account::new()];
    for (job, account) in work.into_iter().zip(&mut accounts) {
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
    Ok(accounts)
}

fn counts(pid: u32) -> Account {
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
