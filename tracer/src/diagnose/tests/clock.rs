//! The wall clock is set, or goes on while the machine sleeps: what is told of a moment is what the clock showed then,
//! and ages go by the other clock.

use jiff::{SignedDuration, Timestamp};

use super::world::{END, S, START, STUCK, conn, frame, libc, world};
use crate::model::{
    input::{Anchor, Input},
    report::Report,
};

/// Two sockets, and between them a step of so many seconds that is noticed at once.
fn report(step: i64) -> Report {
    let before = conn(1).accepted().eof();
    let after = conn(2)
        .accepted()
        .eof()
        .stacks_from(10)
        .since(STUCK + 20 * S);
    let mut world = world([before, after])
        .with_stack(3, vec![libc("recv"), frame("drain", 30)])
        .with_stack(13, vec![libc("recv"), frame("peek", 60)]);
    let at = STUCK + 10 * S;
    let wall = shown(&world.run_header.wall, at - START, step);
    world.inputs.insert(0, Input::Anchored(Anchor { at, wall }));
    world.report()
}

fn shown(first: &Timestamp, later: u64, step: i64) -> Timestamp {
    let later = SignedDuration::from_nanos(later as i64) + SignedDuration::from_secs(step);
    first.checked_add(later).unwrap()
}

#[test]
fn moments_are_told_as_the_clock_showed_them_and_ages_are_not_moved() {
    let first = world([]).run_header.wall;
    // Nothing, set back a day, set forth an hour, asleep for a week.
    for step in [0, -86_400, 3600, 7 * 86_400] {
        let report = report(step);
        let seen = |cookie: u64| {
            let of_it = |site: &&crate::model::report::Site| {
                site.sockets.iter().any(|socket| socket.cookie.0 == cookie)
            };
            let site = report.sites.iter().find(of_it).unwrap();
            (site.first_seen, site.oldest_seconds)
        };
        let (before, after) = (seen(1), seen(2));
        assert_eq!(before.0, shown(&first, STUCK - START, 0), "{step}");
        assert_eq!(
            after.0,
            shown(&first, STUCK + 20 * S - START, step),
            "{step}"
        );
        let age = |since: u64| (END - since) as f64 / S as f64;
        assert!((before.1 - age(STUCK)).abs() < 0.01, "{step}: {before:?}");
        assert!(
            (after.1 - age(STUCK + 20 * S)).abs() < 0.01,
            "{step}: {after:?}"
        );
        assert_eq!(report.window.start, first);
        assert_eq!(report.window.end, shown(&first, END - START, step));
    }
}
