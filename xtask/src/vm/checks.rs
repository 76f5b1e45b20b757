//! Compares what a guest told with what its kernel should allow. Every check is a cell of the
//! matrix: a few words when it is as expected, and why not otherwise.

mod rigs;

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::expected;
use super::kernel::Kernel;
use super::record::{self, DOCTOR, SNAPSHOT, Step, TRACE, WATCH};
use super::report::{Doctor, Hook, Manifest, Report};
use crate::bench::document::grouped;
use crate::repo;

pub struct Check {
    /// The row of the matrix.
    pub name: String,
    pub outcome: Result<String, String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(words) => write!(f, "  {}: {words}", self.name),
            Err(words) => write!(f, "  {}: NOT AS EXPECTED: {words}", self.name),
        }
    }
}

fn check(name: &str, outcome: Result<String, String>) -> Check {
    Check {
        name: name.to_owned(),
        outcome,
    }
}

/// The only check of a guest that did not come to its end.
pub fn never_ended(error: &anyhow::Error) -> Check {
    check("the guest", Err(format!("{error:#}")))
}

pub fn all(kernel: &Kernel, steps: &[Step]) -> Result<Vec<Check>> {
    let manifest = fs::read(repo::root().join("tests/rigs/manifest.json"));
    let manifest: Manifest = serde_json::from_slice(&manifest.context("read the rigs' manifest")?)
        .context("parse the rigs' manifest")?;
    let mut checks = Vec::new();
    match output::<Doctor>(steps, DOCTOR) {
        Ok(doctor) => checks.extend(doctors(kernel, &doctor)),
        Err(words) => checks.push(check("doctor", Err(words))),
    }
    match output::<Report>(steps, WATCH) {
        Ok(report) => {
            checks.extend(hooks(kernel, &report.hooks));
            checks.push(check("events", events(&report)));
            checks.extend(rigs::watched(kernel, steps, &manifest, &report));
        }
        Err(words) => checks.push(check("watch", Err(words))),
    }
    let snapshot = output::<Report>(steps, SNAPSHOT);
    checks.push(check(
        "snapshot",
        snapshot.and_then(|report| rigs::in_snapshot(steps, &manifest, &report)),
    ));
    checks.push(check("trace", rigs::traced(steps, TRACE)));
    Ok(checks)
}

/// The JSON document that a step printed.
fn output<T: DeserializeOwned>(steps: &[Step], name: &str) -> Result<T, String> {
    let step = record::find(steps, name).ok_or("the guest did not run it")?;
    if step.code != Some(0) {
        return Err(format!("it ended with {:?}: {}", step.code, step.stderr));
    }
    serde_json::from_str(&step.stdout).map_err(|error| format!("{error} in its JSON"))
}

fn doctors(kernel: &Kernel, doctor: &Doctor) -> Vec<Check> {
    let booted = if doctor.kernel == kernel.release {
        Ok("yes".to_owned())
    } else {
        Err(format!("it booted {}", doctor.kernel))
    };
    let loads = match &doctor.problem {
        None => booted,
        Some(problem) => Err(problem.to_string()),
    };
    let silent: Vec<&str> = doctor
        .hooks
        .iter()
        .filter(|hook| hook.status != "attached" && hook.reason.is_none())
        .map(|hook| hook.name.as_str())
        .collect();
    let said = if silent.is_empty() {
        loads
    } else {
        Err(format!("no reason is given for {}", silent.join(", ")))
    };
    let refused: Vec<String> = doctor
        .iterators
        .iter()
        .filter(|iterator| iterator.status != "works")
        .map(|iterator| format!("{}: {:?}", iterator.name, iterator.reason))
        .collect();
    let iterators = if refused.is_empty() {
        let names: Vec<&str> = doctor.iterators.iter().map(|i| i.name.as_str()).collect();
        Ok(names.join(", "))
    } else {
        Err(refused.join("; "))
    };
    vec![
        check("the object loads", said),
        check("verified", verified(kernel, doctor)),
        check("iterators", iterators),
    ]
}

/// What loading costs: the largest program that the verifier went through, and all together.
fn verified(kernel: &Kernel, doctor: &Doctor) -> Result<String, String> {
    if kernel.version < expected::TELLS_VERIFIED {
        return Ok("not told".to_owned());
    }
    let over: Vec<String> = (doctor.programs.iter())
        .filter(|program| {
            let most = expected::most_verified(&program.name, kernel.version);
            program.verified_instructions > most
        })
        .map(|program| format!("{} takes {}", program.name, program.verified_instructions))
        .collect();
    if !over.is_empty() {
        return Err(format!("over the budget: {}", over.join(", ")));
    }
    if !(doctor.programs.iter()).any(|program| program.name == expected::SAMPLES) {
        return Err(format!("{} was not loaded", expected::SAMPLES));
    }
    let largest = doctor
        .programs
        .iter()
        .max_by_key(|program| program.verified_instructions);
    let largest = largest.ok_or("no program is listed")?;
    let all: u64 = doctor
        .programs
        .iter()
        .map(|program| program.verified_instructions)
        .sum();
    Ok(format!(
        "{} of {} ({})",
        grouped(largest.verified_instructions),
        grouped(all),
        largest.name
    ))
}

/// One check a purpose: exactly the expected hooks, each in the expected status.
fn hooks(kernel: &Kernel, found: &[Hook]) -> Vec<Check> {
    let purposes = expected::purposes(kernel.version);
    let known = |name: &str| {
        let mut hooks = purposes.iter().flat_map(|purpose| &purpose.hooks);
        hooks.any(|hook| hook.name == name)
    };
    let surprises: Vec<String> = found
        .iter()
        .filter(|hook| !known(&hook.name))
        .map(shown)
        .collect();
    let mut checks: Vec<Check> = purposes
        .iter()
        .map(|purpose| check(purpose.name, serves(purpose, found)))
        .collect();
    if !surprises.is_empty() {
        checks.push(check("other hooks", Err(surprises.join("; "))));
    }
    checks
}

fn serves(purpose: &expected::Purpose, found: &[Hook]) -> Result<String, String> {
    for wanted in &purpose.hooks {
        match found.iter().find(|hook| hook.name == wanted.name) {
            None => return Err(format!("{} is not mentioned", wanted.name)),
            Some(hook) if hook.kind != wanted.kind || hook.status != wanted.status => {
                return Err(shown(hook));
            }
            Some(_) => {}
        }
    }
    let first = purpose.hooks.first().ok_or("no hook serves it")?;
    Ok(match first.status {
        "attached" => first.kind.to_owned(),
        "degraded" => format!("{}, degraded", first.kind),
        "standby" => format!("{}, on demand", first.kind),
        other => other.to_owned(),
    })
}

fn shown(hook: &Hook) -> String {
    let reason = hook.reason.as_deref().unwrap_or("no reason");
    format!("{} {} is {}: {reason}", hook.kind, hook.name, hook.status)
}

/// The kernel skips a program that interrupts itself on one CPU, which an emulated and therefore slow
/// one does now and then. That is no failure as long as the report says so.
fn events(report: &Report) -> Result<String, String> {
    let events = &report.window.events;
    let all = events.seen == events.submitted && events.seen == events.received;
    let admitted = report.warnings.iter().any(|w| w.contains("nested run"));
    match (all && report.window.complete, events.lost) {
        (true, 0) => Ok("none lost".to_owned()),
        (true, lost) if admitted => Ok(format!("{lost} missed, and said so")),
        _ => Err(format!(
            "seen {}, submitted {}, received {}, lost {}, complete: {}; warnings: {}",
            events.seen,
            events.submitted,
            events.received,
            events.lost,
            report.window.complete,
            report.warnings.join("; ")
        )),
    }
}
