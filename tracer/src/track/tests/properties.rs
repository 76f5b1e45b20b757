//! Invariants over arbitrary sequences of inputs.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tracer_common::state::{CLOSE, CLOSE_WAIT};

use super::arbitrary::{candidate, counters, input, inputs, inventory, run_header};
use crate::{
    diagnose::{self, Style},
    model::{
        input::{Counters, Input, Inventory, Item},
        report::Report,
        stack::Frame,
        verdict::Verdict,
    },
    track::{Bounds, Tracker},
};

fn told(inputs: &[Input]) -> Tracker {
    let mut tracker = Tracker::default();
    tracker.apply(Input::RunHeader(Box::new(run_header())));
    for input in inputs {
        tracker.apply(input.clone());
    }
    tracker
}

pub fn report(tracker: &Tracker) -> Report {
    let first = |frames: &[Frame]| (!frames.is_empty()).then_some(0);
    let style = Style {
        sockets_per_site: 3,
    };
    diagnose::report(tracker, style, &first).unwrap().report
}

fn is_stuck(item: &Item) -> bool {
    item.state == CLOSE_WAIT || (item.state == CLOSE && !item.dead && !item.holders.is_empty())
}

fn stuck_in(inventory: &Inventory) -> BTreeSet<u64> {
    let stuck = inventory.items.iter().filter(|item| is_stuck(item));
    stuck.map(|item| item.cookie).collect()
}

fn followed(tracker: &Tracker) -> BTreeSet<u64> {
    tracker.sockets().map(|socket| socket.cookie).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn nothing_makes_it_panic_and_a_report_adds_up(inputs in inputs()) {
        let tracker = told(&inputs);
        let report = report(&tracker);
        let stuck = report.sites.iter();
        let stuck = stuck.filter(|site| site.verdict != Verdict::ClosedAtExit);
        let counted: u64 = stuck.map(|site| site.count).sum();
        prop_assert_eq!(counted, report.totals.stuck + report.totals.undecided);
        prop_assert!(report.totals.unaccepted + report.totals.hidden <= report.totals.stuck);
        for site in &report.sites {
            prop_assert!(site.oldest_seconds >= 0.0);
            prop_assert!(site.first_seen <= report.window.end);
            prop_assert_eq!(site.sockets.len() as u64 + site.sockets_omitted, site.count);
            let mut last = site.oldest_seconds;
            for socket in &site.sockets {
                prop_assert!((0.0..=last).contains(&socket.age_seconds));
                last = socket.age_seconds;
            }
        }
        // Asking for what is lacking is as total as the report.
        let _ = diagnose::data_requests(&tracker, &|_| None, &|_| None);
    }

    #[test]
    fn time_never_runs_backwards_and_no_state_begins_in_the_future(inputs in inputs()) {
        let mut tracker = told(&[]);
        for input in inputs {
            let before = tracker.now();
            tracker.apply(input);
            prop_assert!(tracker.now() >= before);
            for socket in tracker.sockets() {
                prop_assert!(socket.since <= tracker.now());
            }
        }
    }

    #[test]
    fn the_bounds_hold_and_what_finds_no_room_is_counted(inputs in inputs()) {
        let bounds = Bounds { sockets: 3, evicted_histories: 2, ended: 1 };
        let mut tracker = Tracker::bounded(bounds);
        for input in inputs {
            let refused = tracker.unfollowed();
            let room = tracker.count() < bounds.sockets;
            tracker.apply(input.clone());
            prop_assert!(tracker.count() <= bounds.sockets);
            prop_assert!(tracker.unfollowed() >= refused);
            // Whole again only when a complete inventory found room for all that exists.
            if tracker.unfollowed() > refused {
                prop_assert!(!tracker.is_complete());
            }
            if let (Input::StuckCandidate(candidate), false) = (&input, room) {
                let known = tracker.sockets().any(|s| s.cookie == candidate.cookie);
                prop_assert!(known || tracker.unfollowed() > refused);
            }
        }
    }

    #[test]
    fn a_complete_inventory_settles_what_is_followed(
        inputs in inputs(),
        mut last in inventory(),
    ) {
        last.complete = true;
        let mut tracker = told(&inputs);
        let before: Vec<_> = tracker.sockets().cloned().collect();
        tracker.apply(Input::Inventory(last.clone()));
        let mut expected = stuck_in(&last);
        // Those that came to be known since it began need not be in it.
        expected.extend(before.iter().filter(|s| s.known_since >= last.from).map(|s| s.cookie));
        prop_assert_eq!(followed(&tracker), expected);
    }

    #[test]
    fn an_incomplete_inventory_adds_but_never_takes(inputs in inputs(), mut last in inventory()) {
        last.complete = false;
        let mut tracker = told(&inputs);
        let mut expected = followed(&tracker);
        tracker.apply(Input::Inventory(last.clone()));
        expected.extend(stuck_in(&last));
        prop_assert_eq!(followed(&tracker), expected);
    }

    #[test]
    fn the_same_inventory_again_changes_nothing(inputs in inputs(), inventory in inventory()) {
        let mut tracker = told(&inputs);
        tracker.apply(Input::Inventory(inventory.clone()));
        let (sockets, unseen) = (cloned(&tracker), tracker.drift().unseen);
        tracker.apply(Input::Inventory(inventory.clone()));
        prop_assert_eq!(cloned(&tracker), sockets);
        prop_assert_eq!(tracker.drift().unseen, unseen);
    }

    #[test]
    fn a_doubled_event_is_one_event(inputs in inputs(), event in input()) {
        let mut once = told(&inputs);
        once.apply(event.clone());
        let mut twice = told(&inputs);
        twice.apply(event.clone());
        twice.apply(event.clone());
        if !matches!(event, Input::Inventory(_)) {
            prop_assert_eq!(cloned(&once), cloned(&twice));
        }
    }

    #[test]
    fn drift_and_refusals_only_grow(inputs in inputs()) {
        let mut tracker = told(&[]);
        for input in inputs {
            let before = (tracker.drift(), tracker.unfollowed());
            tracker.apply(input);
            let after = (tracker.drift(), tracker.unfollowed());
            prop_assert!(after.0.unseen >= before.0.unseen);
            prop_assert!(after.0.vanished >= before.0.vanished);
            prop_assert!(after.1 >= before.1);
        }
    }

    #[test]
    fn after_a_counted_loss_only_a_complete_inventory_makes_it_whole(
        inputs in inputs(),
        more in inputs(),
        lost in 1u64..,
    ) {
        let mut tracker = told(&inputs);
        let seen_so_far = inputs.iter().filter_map(loss).max().unwrap_or(0);
        let loss = Counters { lost: lost.saturating_add(seen_so_far), ..Counters::default() };
        prop_assume!(loss.lost > seen_so_far);
        tracker.apply(Input::Counters(loss));
        prop_assert!(!tracker.is_complete());
        for input in more {
            let repairs = matches!(&input, Input::Inventory(inventory) if inventory.complete);
            // The kernel's counters never fall.
            if matches!(input, Input::Counters(_)) {
                continue;
            }
            tracker.apply(input);
            if repairs {
                prop_assert!(tracker.is_complete());
                break;
            }
            prop_assert!(!tracker.is_complete());
        }
    }

    #[test]
    fn without_any_inventory_it_is_never_whole(counters in counters(), candidate in candidate()) {
        let tracker = told(&[Input::Counters(counters), Input::StuckCandidate(candidate)]);
        prop_assert!(!tracker.is_complete());
    }

    #[test]
    fn the_end_of_a_socket_ends_it(inputs in inputs(), cookie in 1u64..10) {
        let mut tracker = told(&inputs);
        let Some(end) = inputs.iter().find_map(|input| match input {
            Input::Transition(change) => Some(change.clone()),
            _ => None,
        }) else {
            return Ok(());
        };
        tracker.apply(Input::Destroyed(crate::model::input::Transition { cookie, ..end }));
        prop_assert!(!followed(&tracker).contains(&cookie));
    }
}

fn loss(input: &Input) -> Option<u64> {
    match input {
        Input::Counters(counters) => Some(counters.all_lost()),
        _ => None,
    }
}

fn cloned(tracker: &Tracker) -> Vec<crate::track::Socket> {
    tracker.sockets().cloned().collect()
}
