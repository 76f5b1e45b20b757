//! Medians over the rounds, each figure beside its goal.

use super::account::Account;
use super::{Plan, Round, Spent};
use crate::bench::document::Table;
use crate::bench::facts::Facts;
use crate::bench::stats::median;

/// A program, the empty one on its hook (the kernel keeps 15 bytes of a name), and how much more it may take, ns.
const PROGRAMS: &[(&str, &str, Option<f64>)] = &[
    ("recv_length", "empty_recv_leng", Some(200.0)),
    ("send_length", "empty_send_leng", Some(200.0)),
    ("set_state", "empty_set_state", Some(60.0)),
    ("destroy", "empty_destroy", Some(25.0)),
    ("exit_accept", "empty_exit_acce", None),
];
/// Of what a connection took above the empty programs before stacks were exact: 3.85 µs.
const CONNECTION: f64 = 0.7 * 3_850.0;
const HEALTHY: f64 = 800.0;

pub fn section(plan: Plan, facts: &Facts, rounds: &[Round]) -> String {
    let mut programs = Table::new(&[
        "program",
        "runs per connection",
        "ns per run",
        "above the empty program",
        "goal",
        "outcome",
        "above it on a long connection's reads",
    ]);
    for (name, empty, goal) in PROGRAMS {
        let watch = per_run(rounds, |round| &round.watch.connections, name);
        let floor = per_run(rounds, |round| &round.floor.connections, empty);
        let (Some(watch), Some(floor)) = (watch, floor) else {
            continue;
        };
        let reads = per_run(rounds, |round| &round.watch.reads, name)
            .zip(per_run(rounds, |round| &round.floor.reads, empty))
            .filter(|_| *name == "recv_length");
        programs.row(&[
            format!("`{name}`"),
            runs(rounds, plan, name).map_or_else(String::new, |runs| format!("{runs:.1}")),
            format!("{watch:.0}"),
            format!("{:.0}", watch - floor),
            goal.map_or_else(String::new, |goal| format!("≤ {goal:.0}")),
            goal.map_or_else(String::new, |goal| outcome(watch - floor, goal, "ns")),
            reads.map_or_else(String::new, |(watch, floor)| {
                format!("{:.0}", watch - floor)
            }),
        ]);
    }
    let mut whole = Table::new(&[
        "a connection",
        "ns in programs above empty ones",
        "goal",
        "outcome",
    ]);
    let watch = connection(rounds, plan, |round| (&round.watch, total(&round.floor)));
    let leaking = connection(rounds, plan, |round| {
        (&round.leaking, held_by(&round.floor, &round.leaking))
    });
    for (what, figure, goal) in [
        ("`watch`", watch, CONNECTION),
        (
            "`watch --evidence leaking`, nothing stuck",
            leaking,
            HEALTHY,
        ),
    ] {
        if let Some(figure) = figure {
            whole.row(&[
                what.to_owned(),
                format!("{figure:.0}"),
                format!("≤ {goal:.0}"),
                outcome(figure, goal, "ns"),
            ]);
        }
    }
    format!(
        "## What each hook takes\n\n{}\n\nRepeat with `cargo xtask bench hooks` as root. {} rounds, medians; in each the arms ran in \
         random order with {} connections as below and {} reads of one byte, two seconds after a first load: the ways \
         through its code are learnt by then. The figures are the kernel's statistics of BPF \
         programs (`kernel.bpf_stats_enabled`); they leave out the way into a program.\n\n{}\n{}",
        facts.line(),
        plan.rounds,
        plan.connections,
        plan.reads,
        programs.text(),
        whole.text()
    )
}

fn outcome(figure: f64, goal: f64, unit: &str) -> String {
    if figure <= goal {
        "**met**".to_owned()
    } else {
        format!("**missed** by {:.0} {unit}", figure - goal)
    }
}

fn per_run(rounds: &[Round], account: impl Fn(&Round) -> &Account, name: &str) -> Option<f64> {
    let each = rounds.iter().filter_map(|round| {
        let (runs, ns) = account(round).get(name)?;
        (*runs > 0).then(|| *ns as f64 / *runs as f64)
    });
    median(&each.collect::<Vec<_>>())
}

fn runs(rounds: &[Round], plan: Plan, name: &str) -> Option<f64> {
    let each = rounds.iter().filter_map(|round| {
        let (runs, _) = round.watch.connections.get(name)?;
        Some(*runs as f64 / f64::from(plan.connections))
    });
    median(&each.collect::<Vec<_>>())
}

/// Of one arm above what empty programs take.
fn connection<'r>(
    rounds: &'r [Round],
    plan: Plan,
    arms: impl Fn(&'r Round) -> (&'r Spent, u64),
) -> Option<f64> {
    let each = rounds.iter().map(|round| {
        let (spent, floor) = arms(round);
        (total(spent) as f64 - floor as f64) / f64::from(plan.connections)
    });
    median(&each.collect::<Vec<_>>())
}

fn total(spent: &Spent) -> u64 {
    spent.connections.values().map(|(_, ns)| ns).sum()
}

/// Of the empty programs those on hooks that the arm has, which ran there.
fn held_by(floor: &Spent, arm: &Spent) -> u64 {
    let ran = |name: &str| arm.connections.get(name).is_some_and(|(runs, _)| *runs > 0);
    let on_its_hooks = PROGRAMS.iter().filter(|(name, _, _)| ran(name));
    on_its_hooks
        .filter_map(|(_, empty, _)| floor.connections.get(*empty))
        .map(|(_, ns)| ns)
        .sum()
}
