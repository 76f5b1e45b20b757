//! What `sockleak run` leaves behind in the kernel: nothing. In a binary of its own, because the other tests of `run`
//! keep both CPUs busy, and a tracer that waits for one detaches late.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use tests::bpf;
use tests::process::{has_ended, tracer_of};
use tests::skip::{require_program, require_root};
use tests::sockleak::{Running, command};
use tests::wait::{poll_for, wait_for};

const LIMIT: Duration = Duration::from_mins(2);
const DETACHED: Duration = Duration::from_secs(2);

#[test]
fn nothing_stays_attached() {
    let name = "nothing_stays_attached";
    if !require_root(name) || !require_program(name, "bpftool") {
        return;
    }
    let mut running = Running::start(&mut command(["run", "--", "sleep", "1"]));
    let tracer = poll_for(LIMIT, || tracer_of(running.pid())).expect("a tracer");
    assert!(bpf::has_attached(tracer, LIMIT));
    let links = bpf::held_by(tracer).links;
    running.wait(LIMIT);
    let ended = Instant::now();
    wait_for("the tracer has ended", DETACHED, || has_ended(tracer));
    let rest = DETACHED.saturating_sub(ended.elapsed());
    wait_for("its links have gone", rest, || {
        links.iter().all(|link| !bpf::exists("link", *link))
    });
}
