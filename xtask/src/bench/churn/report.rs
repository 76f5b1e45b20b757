//! The section of the document.

use std::fmt::Write as _;

use super::arms::{self, ARMS, Arm};
use super::figures::{self, Account, MACHINE, PROC_STAT, PROCESSES, STOLEN, TOOL};
use super::goals;
use super::round::{Measured, Operation, Plan, Round};
use crate::bench::document::{Table, grouped};
use crate::bench::facts::Facts;
use crate::bench::stats::Estimate;

pub fn section(plan: &Plan, facts: &Facts, rounds: &[Round]) -> String {
    let mut text = format!(
        "## Connections that are closed in time\n\n{}\n\nRepeat with `cargo xtask bench churn` as \
         root on a quiet machine. {} rounds; in each, every arm ran once, in random order, with {} \
         connections on loopback to 100 addresses: 100 bytes there, 100 bytes back, and the client \
         closes first, so that every server socket passes through CLOSE_WAIT. One thread on one CPU \
         does both ends. Figures are CPU time of the whole machine, the tool's own process included, \
         after a warm-up. \"Added\" is the median of the differences to `none` in the same round and, \
         in brackets, its bootstrap 95 % interval. No other program traced the machine, and sockleak \
         lost no event. A connection makes ten transitions; where `tcpstates` wrote fewer lines, it lost \
         some.\n\n",
        facts.line(),
        rounds.len(),
        grouped(plan.connections),
    );
    text.push_str(&connections(rounds));
    text.push_str("\n### Goals\n\n");
    text.push_str(&goals::table(rounds));
    let _ = writeln!(
        text,
        "\n### Reads and writes of a long connection\n\nOne connection: {} reads of one byte that has \
         already arrived, and {} exchanges of one byte there and one back (two writes, two reads).\n",
        grouped(plan.reads),
        grouped(plan.exchanges)
    );
    text.push_str(&data_path(rounds));
    text.push_str(&hooks(rounds));
    let stolen = figures::middle(
        rounds,
        |it| of(it, Operation::Connection, STOLEN),
        arms::NONE,
    );
    let _ = writeln!(
        text,
        "\nOf all CPU time, {:.1} % went to threads that are neither the load's nor the tool's. Time the \
         hypervisor took away is not in the figures: {:.2} µs a connection in `none`.",
        figures::elsewhere(rounds).unwrap_or_default(),
        stolen.unwrap_or_default() / 1e3
    );
    text
}

fn connections(rounds: &[Round]) -> String {
    const CONNECTION: Operation = Operation::Connection;
    let mut table = Table::new(&[
        "arm",
        "CPU per connection, µs",
        "added, µs",
        "added, %",
        "added to the load's and the tool's process alone, µs",
        "added by /proc/stat, µs",
        "in the tool's process, µs",
        "lines per connection",
    ]);
    for arm in ARMS {
        let median = |account: Account| {
            figures::middle(rounds, |it| of(it, CONNECTION, account) / 1e3, arm.name)
        };
        let Some(cost) = median(MACHINE) else {
            continue;
        };
        let micros = |account: Account| {
            against_none(arm, rounds, |round| {
                Some(figures::added(round, arm.name, CONNECTION, account)? / 1e3)
            })
        };
        let percent = against_none(arm, rounds, |round| {
            figures::share(round, arm.name, CONNECTION, MACHINE)
        });
        let lines = figures::middle(rounds, |it| it.lines, arm.name).filter(|lines| *lines > 0.0);
        let tool = median(TOOL).filter(|_| arm.kind.is_some());
        table.row(&[
            format!("`{}`: {}", arm.name, arm.shown),
            format!("{cost:.2}"),
            interval(micros(MACHINE), 2),
            interval(percent, 1),
            interval(micros(PROCESSES), 2),
            interval(micros(PROC_STAT), 2),
            tool.map_or_else(String::new, |micros| format!("{micros:.2}")),
            lines.map_or_else(String::new, |lines| format!("{lines:.2}")),
        ]);
    }
    table.text().to_owned()
}

fn data_path(rounds: &[Round]) -> String {
    let mut table = Table::new(&[
        "arm",
        "CPU per read, ns",
        "added, ns",
        "CPU per exchange, ns",
        "added, ns",
    ]);
    for arm in ARMS.iter().filter(|arm| arm.on_data_path) {
        let cells = |operation: Operation| {
            let cost = figures::middle(rounds, |it| of(it, operation, MACHINE), arm.name)?;
            let added = against_none(arm, rounds, |round| {
                figures::added(round, arm.name, operation, MACHINE)
            });
            Some((format!("{cost:.0}"), interval(added, 0)))
        };
        if let (Some(read), Some(exchange)) = (cells(Operation::Read), cells(Operation::Exchange)) {
            table.row(&[
                format!("`{}`", arm.name),
                read.0,
                read.1,
                exchange.0,
                exchange.1,
            ]);
        }
    }
    table.text().to_owned()
}

fn hooks(rounds: &[Round]) -> String {
    let mut text = String::new();
    for arm in [arms::WATCH, arms::WATCH_NO_ACCEPT] {
        let hooks = rounds.iter().find_map(|round| round.get(arm));
        if let Some(it) = hooks.filter(|it| !it.hooks.is_empty()) {
            let _ = writeln!(text, "\nHooks of `{arm}`: {}.", it.hooks.join(", "));
        }
    }
    text
}

/// Zero for an operation the arm did not do, which has no row either.
fn of(measured: &Measured, operation: Operation, account: Account) -> f64 {
    measured.costs.get(&operation).map_or(0.0, account)
}

/// Nothing for `none` itself.
fn against_none(
    arm: &Arm,
    rounds: &[Round],
    figure: impl Fn(&Round) -> Option<f64>,
) -> Option<Estimate> {
    figures::estimate(rounds, figure).filter(|_| arm.name != arms::NONE)
}

fn interval(estimate: Option<Estimate>, decimals: usize) -> String {
    estimate.map_or_else(String::new, |it| {
        format!(
            "{:+.decimals$} ({:+.decimals$} to {:+.decimals$})",
            it.median, it.low, it.high
        )
    })
}
