//! `cargo xtask bench runtimes`: what following a runtime's own frames adds to a read, for the program and for the tracer,
//! beside the same loop with `--runtimes none` and beside a native one, which must pay nothing.

mod programs;

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

use self::programs::Program;
use super::document::Table;
use super::facts::Facts;
use super::generator::Generator;
use super::hooks::account::counts;
use super::load::Job;
use super::stats::{Random, median};
use super::tool::{Kind, Tool};
use super::{alone, document, proc};
use crate::say;

#[derive(clap::Args)]
pub struct Args {
    /// Two short rounds, printed and not written to docs
    #[arg(long)]
    quick: bool,
}

const HOOK: &str = "recv_length";
/// By then a runtime is learnt.
const LEARNT: Duration = Duration::from_secs(3);
const WARM_UP: [Job; 2] = [Job::Reads(2_000), Job::Connections(200)];

const ALL: &[&str] = &["watch", "--json", "--duration", "1h"];
const NONE: &[&str] = &["watch", "--json", "--duration", "1h", "--runtimes", "none"];

/// Of one program in one arm of one round.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Nanoseconds of the hook for a read on a connection that was read from before, and for the first on a new one.
    hot: f64,
    new: f64,
    /// CPU time, in milliseconds, of the tracer and its helper from the program's first call on.
    tracer: f64,
}

type Round = Vec<(Cost, Cost)>;

pub fn run(args: &Args) -> Result<()> {
    let (rounds, reads, connections) = if args.quick {
        (2, 20_000, 1_000)
    } else {
        (5, 100_000, 5_000)
    };
    let jobs = [Job::Reads(reads), Job::Connections(connections)];
    let facts = Facts::gather()?;
    let programs = programs::installed()?;
    let mut random = Random::new(u64::from(std::process::id()));
    let mut measured: Vec<Round> = Vec::new();
    for number in 1..=rounds {
        say::step(format_args!("round {number} of {rounds}"));
        let mut order: Vec<usize> = (0..programs.len()).collect();
        random.shuffle(&mut order);
        let mut round = vec![(Cost::default(), Cost::default()); programs.len()];
        for at in order {
            let (Some(program), Some(costs)) = (programs.get(at), round.get_mut(at)) else {
                continue;
            };
            costs.0 = cost(program, NONE, jobs)?;
            costs.1 = cost(program, ALL, jobs)?;
        }
        measured.push(round);
    }
    let text = section(&facts, &programs, &measured, (reads, connections));
    document::publish("runtimes", &text, !args.quick)
}

fn cost(program: &Program, args: &'static [&'static str], jobs: [Job; 2]) -> Result<Cost> {
    alone::wait()?;
    let mut tool = Tool::start("runtimes", Kind::Sockleak(args))?;
    tool.wait_until_attached()?;
    let _counting = enable_stats(Stats::RunTime).context("ask the kernel to time BPF programs")?;
    let mut generator = Generator::of(&mut program.command())?;
    let before = spent(tool.pid());
    for job in WARM_UP {
        generator.run(job)?;
    }
    sleep(LEARNT);
    let tracer = (spent(tool.pid()).saturating_sub(before)) as f64 / 1e6;
    for job in WARM_UP {
        generator.run(job)?;
    }
    let mut each = [0.0; 2];
    for (job, each) in jobs.into_iter().zip(&mut each) {
        let before = of_hook(tool.pid());
        generator.run(job)?;
        let after = of_hook(tool.pid());
        *each = (after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64;
    }
    tool.stop()?;
    let [hot, new] = each;
    Ok(Cost { hot, new, tracer })
}

fn of_hook(tool: u32) -> (u64, u64) {
    counts(tool).get(HOOK).copied().unwrap_or_default()
}

/// Nanoseconds on a CPU, of the tool and its children.
fn spent(tool: u32) -> u64 {
    let mine = |pid: &u32| *pid == tool || proc::parent(*pid) == Some(tool);
    let pids = proc::processes().into_iter().filter(mine);
    let threads = pids.flat_map(|pid| proc::threads_of(pid).into_iter().map(move |tid| (pid, tid)));
    threads
        .filter_map(|(pid, tid)| proc::run_ns(pid, tid))
        .sum()
}

fn section(
    facts: &Facts,
    programs: &[Program],
    rounds: &[Round],
    (reads, connections): (u32, u32),
) -> String {
    let mut table = Table::new(&[
        "program",
        "ns a read, without its frames",
        "with them",
        "added",
        "goal",
        "ns of the first read of a connection, without",
        "with",
        "added",
        "goal",
        "the tracer's CPU until it is learnt, ms more",
    ]);
    for (at, program) in programs.iter().enumerate() {
        let of = |figure: &dyn Fn(&(Cost, Cost)) -> f64| {
            let each: Vec<f64> = rounds
                .iter()
                .filter_map(|round| round.get(at))
                .map(figure)
                .collect();
            median(&each).unwrap_or_default()
        };
        let hot = of(&|(without, with)| with.hot - without.hot);
        let new = of(&|(without, with)| with.new - without.new);
        let outcome = |figure: f64, goal: Option<f64>| match goal {
            None => "0".to_owned(),
            Some(goal) if figure <= goal => format!("≤ {goal:.0}: **met**"),
            Some(goal) => format!("≤ {goal:.0}: **missed**"),
        };
        table.row(&[
            program.name.clone(),
            format!("{:.0}", of(&|(without, _)| without.hot)),
            format!("{:.0}", of(&|(_, with)| with.hot)),
            format!("{hot:+.0}"),
            outcome(hot, program.goals.map(|(hot, _)| hot)),
            format!("{:.0}", of(&|(without, _)| without.new)),
            format!("{:.0}", of(&|(_, with)| with.new)),
            format!("{new:+.0}"),
            outcome(new, program.goals.map(|(_, new)| new)),
            format!(
                "{:+.0}",
                of(&|(without, with)| with.tracer - without.tracer)
            ),
        ]);
    }
    let mut text = String::new();
    let _ = writeln!(text, "## Frames of language runtimes\n\n{}\n", facts.line());
    let _ = writeln!(
        text,
        "Repeat with `cargo xtask bench runtimes` as root. {} rounds, medians; in each every program ran beside `--runtimes none` \
         and beside the default: {reads} reads of one byte on one connection, and {connections} connections with one read each, \
         three seconds after its first calls. The figures are the kernel's statistics of the program on `sock_recv_length`. The goals \
         hold for what is added. The last column is CPU time of the tracer and its helper process in those three seconds, beyond what \
         they take without looking into the runtime.\n",
        rounds.len(),
    );
    text.push_str(table.text());
    text
}
