//! Several calls in one function: two findings where lines tell them apart, else one.

use super::world::{Conn, conn, frame, libc, world};
use crate::model::stack::Frame;

fn eofs(cookies: impl Iterator<Item = u64>) -> Vec<Conn> {
    cookies.map(|n| conn(n).accepted().eof()).collect()
}

#[test]
fn calls_in_one_function_that_no_line_tells_apart_are_one_finding() {
    let of = |other: Frame| {
        let late = eofs(4..9).into_iter().map(|conn| conn.stacks_from(10));
        world(eofs(1..4).into_iter().chain(late))
            .with_stack(11, vec![libc("accept"), frame("accept_loop", 10)])
            .with_stack(13, vec![libc("recv"), other])
    };
    let site = of(frame("drain", 90)).site();
    assert_eq!((site.verdict.name(), site.count), ("eof-ignored", 8));
    assert_eq!(site.id, world(eofs(1..4)).site().id);
    let counts = |frame| -> Vec<u64> {
        let report = of(frame).report();
        report.sites.iter().map(|site| site.count).collect()
    };
    assert_eq!(counts(frame("other", 90)), [5, 3]);
    let told_apart = Frame {
        line: Some(12),
        ..frame("drain", 90)
    };
    assert_eq!(counts(told_apart), [5, 3]);
    let of_another_file = Frame {
        build_id: Some("other".to_owned()),
        ..frame("drain", 90)
    };
    assert_eq!(counts(of_another_file), [5, 3]);
}
