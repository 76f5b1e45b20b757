//! Questions to all rounds: what an arm cost, and what it added to `none` of the same round.

use std::fmt::Write as _;

use super::arms;
use super::round::{Cost, Measured, Operation, Round};
use crate::bench::stats::{Estimate, median};

/// Picks one account of a cost, in nanoseconds.
pub type Account = fn(&Cost) -> f64;

pub const MACHINE: Account = |cost| cost.machine;
pub const PROCESSES: Account = |cost| cost.load + cost.tool;
pub const PROC_STAT: Account = |cost| cost.ticked;
pub const TOOL: Account = |cost| cost.tool;
pub const STOLEN: Account = |cost| cost.stolen;

/// An arm's cost in one round.
pub fn cost(round: &Round, arm: &str, operation: Operation, account: Account) -> Option<f64> {
    round.get(arm)?.costs.get(&operation).map(account)
}

/// What an arm added in one round.
pub fn added(round: &Round, arm: &str, operation: Operation, account: Account) -> Option<f64> {
    Some(cost(round, arm, operation, account)? - cost(round, arms::NONE, operation, account)?)
}

/// What an arm added in one round, in percent of `none`.
pub fn share(round: &Round, arm: &str, operation: Operation, account: Account) -> Option<f64> {
    let none = cost(round, arms::NONE, operation, account)?;
    Some(added(round, arm, operation, account)? / none * 100.0)
}

/// Over all rounds.
pub fn estimate(rounds: &[Round], figure: impl Fn(&Round) -> Option<f64>) -> Option<Estimate> {
    let figures: Vec<f64> = rounds.iter().filter_map(figure).collect();
    Estimate::of(&figures)
}

pub fn middle(rounds: &[Round], figure: impl Fn(&Measured) -> f64, arm: &str) -> Option<f64> {
    let figures: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.get(arm))
        .map(figure)
        .collect();
    median(&figures)
}

/// Percent of the machine's CPU time that went neither to the load nor to a tool.
pub fn elsewhere(rounds: &[Round]) -> Option<f64> {
    let shares: Vec<f64> = rounds
        .iter()
        .flat_map(Round::values)
        .filter_map(|measured| measured.costs.get(&Operation::Connection))
        .map(|cost| (cost.machine - cost.load - cost.tool) / cost.machine * 100.0)
        .collect();
    median(&shares)
}

/// Every measurement, in nanoseconds per operation.
pub fn raw(rounds: &[Round]) -> String {
    let mut csv = String::from("round,arm,operation,machine,load,tool,proc_stat,stolen\n");
    for (index, round) in rounds.iter().enumerate() {
        for (arm, measured) in round {
            for (operation, cost) in &measured.costs {
                let _ = writeln!(
                    csv,
                    "{},{arm},{},{:.1},{:.1},{:.1},{:.1},{:.1}",
                    index + 1,
                    operation.name(),
                    cost.machine,
                    cost.load,
                    cost.tool,
                    cost.ticked,
                    cost.stolen
                );
            }
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn round(none: f64, watch: f64) -> Round {
        let measured = |machine: f64| Measured {
            costs: BTreeMap::from([(
                Operation::Connection,
                Cost {
                    machine,
                    ..Cost::default()
                },
            )]),
            lines: 0.0,
            hooks: Vec::new(),
        };
        Round::from([(arms::NONE, measured(none)), (arms::WATCH, measured(watch))])
    }

    #[test]
    fn differences_are_taken_within_a_round() {
        let rounds = [round(100.0, 101.0), round(200.0, 202.0), round(50.0, 50.5)];
        let connection = Operation::Connection;
        let share = estimate(&rounds, |it| share(it, arms::WATCH, connection, MACHINE)).unwrap();
        assert!((share.median - 1.0).abs() < 1e-9);
        assert!((share.high - share.low).abs() < 1e-9);
        let added = estimate(&rounds, |it| added(it, arms::WATCH, connection, MACHINE)).unwrap();
        assert!((added.median - 1.0).abs() < 1e-9);
    }

    #[test]
    fn an_arm_that_was_left_out_has_no_figures() {
        let rounds = [round(1.0, 1.0)];
        let connection = Operation::Connection;
        assert!(estimate(&rounds, |it| added(it, arms::TRACE, connection, MACHINE)).is_none());
        assert!(
            estimate(&rounds, |it| added(
                it,
                arms::WATCH,
                Operation::Read,
                MACHINE
            ))
            .is_none()
        );
        assert!(raw(&rounds).contains("1,watch,connection,1.0"));
    }
}
