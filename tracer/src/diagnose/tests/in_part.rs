//! Stacks of which only the innermost calls are known, beside those that go on.

use super::world::{S, SERVER, START, STUCK, conn, frame, libc, world};
use crate::model::{input::Input, stack::Stack};

/// Its sockets are those of a program that it executed later, and so is their exe: which function read them, only
/// their own stacks can say.
#[test]
fn calls_known_in_part_are_not_those_of_a_program_that_was_executed_later() {
    let told = |executed: Option<u64>| {
        let early = (1..4).map(|n| conn(n).accepted().eof());
        let late = (4..9).map(|n| conn(n).accepted().eof().stacks_from(10));
        let part = Stack {
            frames: vec![libc("recv")],
            truncated: true,
            one_of_several: true,
            ..Stack::default()
        };
        let executed = executed.map(|at| Input::Executed { pid: SERVER, at });
        let mut world = world(early.chain(late))
            .with(Input::Stack {
                key: 3,
                stack: part,
            })
            .with_stack(11, vec![libc("accept"), frame("accept_loop", 10)])
            .with_stack(13, vec![libc("recv"), frame("drain", 30)]);
        world.inputs.extend(executed);
        let report = world.report();
        let counts = report.sites.iter().map(|site| site.count);
        counts.collect::<Vec<_>>()
    };
    assert_eq!(told(None), [8]);
    assert_eq!(told(Some(START)), [8]);
    assert_eq!(told(Some(STUCK + 2 * S)), [5, 3]);
}
