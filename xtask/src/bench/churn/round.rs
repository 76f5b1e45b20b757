//! One arm in one round: start the tool, let it settle, do the work, take the time, check that
//! nothing was lost and that nobody else traced meanwhile.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use super::arms::Arm;
use crate::bench::alone;
use crate::bench::cpu::{Sample, Spent};
use crate::bench::generator::Generator;
use crate::bench::load::Job;
use crate::bench::tool::Tool;
use crate::say;

/// How much work a run does.
pub struct Plan {
    pub rounds: u32,
    pub connections: u32,
    pub reads: u32,
    pub exchanges: u32,
}

impl Plan {
    fn work(&self, arm: &Arm) -> Vec<(Operation, Job, u32)> {
        let mut work = vec![(
            Operation::Connection,
            Job::Connections(self.connections),
            self.connections,
        )];
        if arm.on_data_path {
            work.push((Operation::Read, Job::Reads(self.reads), self.reads));
            work.push((
                Operation::Exchange,
                Job::Exchanges(self.exchanges),
                self.exchanges,
            ));
        }
        work
    }
}

/// Arms by name.
pub type Round = BTreeMap<&'static str, Measured>;

#[derive(Clone, Debug)]
pub struct Measured {
    pub costs: BTreeMap<Operation, Cost>,
    /// Lines it wrote for a connection.
    pub lines: f64,
    /// Hooks by name and status, from the tool's own report.
    pub hooks: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Connection,
    Read,
    Exchange,
}

impl Operation {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Read => "read",
            Self::Exchange => "exchange",
        }
    }
}

/// Nanoseconds of CPU time an operation took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub machine: f64,
    pub load: f64,
    pub tool: f64,
    pub ticked: f64,
    pub stolen: f64,
}

/// What a tool does once, on seeing a process and a call path first, is not the cost of a connection.
pub const WARM_UP: [Job; 3] = [
    Job::Connections(2_000),
    Job::Reads(10_000),
    Job::Exchanges(1_000),
];
const WARM_UP_CONNECTIONS: u32 = 2_000 + 2;
/// Lets timed drains and writes of the work just done fall into its own account.
const SETTLE: Duration = Duration::from_millis(250);
const TRIES: usize = 20;

pub fn measure(arm: &Arm, plan: &Plan, generator: &mut Generator) -> Result<Measured> {
    for _ in 0..TRIES {
        alone::wait()?;
        if let Some(measured) = attempt(arm, plan, generator)? {
            return Ok(measured);
        }
        say::step(format_args!(
            "{}: another program traced meanwhile; measuring again",
            arm.name
        ));
    }
    bail!("other programs traced this machine in each of {TRIES} attempts")
}

/// `None` when somebody else attached meanwhile.
fn attempt(arm: &Arm, plan: &Plan, generator: &mut Generator) -> Result<Option<Measured>> {
    let mut tool = arm
        .kind
        .map(|kind| Tool::start(arm.name, kind))
        .transpose()?;
    if let Some(tool) = &mut tool {
        tool.wait_until_attached()?;
    }
    let pid = tool.as_ref().map(Tool::pid);
    for job in WARM_UP {
        generator.run(job)?;
    }
    sleep(SETTLE);
    let mut costs = BTreeMap::new();
    for (operation, job, count) in plan.work(arm) {
        let before = Sample::take()?;
        generator.run(job)?;
        sleep(SETTLE);
        let spent = Sample::take()?.since(&before, generator.pid(), pid);
        costs.insert(operation, Cost::of(spent, count));
    }
    if !alone::strangers(pid).is_empty() {
        return Ok(None);
    }
    let seen = tool.map(Tool::stop).transpose()?.unwrap_or_default();
    if let Some(lost) = seen.lost().filter(|lost| *lost > 0) {
        bail!(
            "{} lost {lost} events: its cost would be that of doing less",
            arm.name
        );
    }
    Ok(Some(Measured {
        costs,
        lines: seen.lines as f64 / f64::from(plan.connections + WARM_UP_CONNECTIONS),
        hooks: seen.hooks(),
    }))
}

impl Cost {
    fn of(spent: Spent, count: u32) -> Self {
        let per = |ns: u64| ns as f64 / f64::from(count);
        Self {
            machine: per(spent.machine),
            load: per(spent.load),
            tool: per(spent.tool),
            ticked: per(spent.ticked),
            stolen: per(spent.stolen),
        }
    }
}
