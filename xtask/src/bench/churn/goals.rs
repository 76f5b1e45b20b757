//! The goals, each as one paired figure and the limit it should not pass.

use super::arms;
use super::figures::{self, MACHINE};
use super::round::{Operation, Round};
use crate::bench::document::Table;
use crate::bench::stats::{Estimate, Verdict};

struct Goal {
    what: &'static str,
    unit: &'static str,
    limit: f64,
    /// Its figure in one round; `None` when an arm it needs was left out.
    figure: fn(&Round) -> Option<f64>,
}

const GOALS: &[Goal] = &[
    Goal {
        what: "`watch` adds at most 2.3 times what its empty hooks add; shown is the excess",
        unit: "µs",
        limit: 0.0,
        figure: |round| over_floor(round, arms::WATCH, arms::FLOOR),
    },
    Goal {
        what: "`watch --accept-hook none`: the same with the empty hooks it has",
        unit: "µs",
        limit: 0.0,
        figure: |round| over_floor(round, arms::WATCH_NO_ACCEPT, arms::FLOOR_NO_ACCEPT),
    },
    Goal {
        what: "`trace` costs less than `tcplife`; shown is the difference",
        unit: "µs",
        limit: 0.0,
        figure: |round| Some(micros(round, arms::TRACE)? - micros(round, arms::TCPLIFE)?),
    },
];

pub fn table(rounds: &[Round]) -> String {
    let mut table = Table::new(&["goal", "limit", "measured (95 % interval)", "outcome"]);
    for goal in GOALS {
        let Some(estimate) = figures::estimate(rounds, goal.figure) else {
            continue;
        };
        table.row(&[
            goal.what.to_owned(),
            format!("{:.1} {}", goal.limit, goal.unit),
            format!(
                "{:+.2} {} ({:+.2} to {:+.2})",
                estimate.median, goal.unit, estimate.low, estimate.high
            ),
            outcome(&estimate, goal),
        ]);
    }
    table.text().to_owned()
}

fn outcome(estimate: &Estimate, goal: &Goal) -> String {
    let by = estimate.median - goal.limit;
    match estimate.against(goal.limit) {
        Verdict::Met => "**met**".to_owned(),
        Verdict::Missed => format!("**missed** by {by:.2} {}", goal.unit),
        Verdict::Open { median_meets: true } => {
            "met by the median; the interval reaches past the limit".to_owned()
        }
        Verdict::Open {
            median_meets: false,
        } => format!(
            "missed by {by:.2} {} by the median; the interval reaches the limit",
            goal.unit
        ),
    }
}

fn micros(round: &Round, arm: &str) -> Option<f64> {
    Some(figures::cost(round, arm, Operation::Connection, MACHINE)? / 1e3)
}

fn over_floor(round: &Round, arm: &str, floor: &str) -> Option<f64> {
    let added = |arm| figures::added(round, arm, Operation::Connection, MACHINE);
    Some((added(arm)? - 2.3 * added(floor)?) / 1e3)
}
