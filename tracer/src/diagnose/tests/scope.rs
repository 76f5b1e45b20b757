//! What the user asked to see, and what a report says of its own knowledge.

use super::world::{SERVER, World, conn, process, world};
use crate::model::input::{Counters, Input};

const OTHER: u32 = 101;

/// One connection of the server, one of another program in another cgroup on another port.
fn two() -> World {
    let mut other = process(OTHER);
    other.comm = "other".to_owned();
    other.exe = Some("/usr/bin/other".to_owned());
    other.cgroup = Some("/system.slice/server.service-not".to_owned());
    let theirs = conn(2)
        .accepted()
        .eof()
        .of(OTHER)
        .at("10.0.0.1:81", "10.0.0.9:9000");
    world([conn(1).accepted().eof(), theirs]).with_process(other)
}

fn seen(mut world: World, narrow: impl Fn(&mut crate::model::input::Scope)) -> Vec<u64> {
    narrow(&mut world.run_header.scope);
    let report = world.report();
    assert_eq!(report.totals.close_wait, report.totals.stuck);
    let mut cookies: Vec<u64> = report
        .sites
        .iter()
        .flat_map(|site| &site.sockets)
        .map(|socket| socket.cookie.0)
        .collect();
    cookies.sort_unstable();
    cookies
}

#[test]
fn without_a_filter_everything_is_seen() {
    assert_eq!(seen(two(), |_| {}), [1, 2]);
}

#[test]
fn a_port_is_local_or_remote() {
    assert_eq!(seen(two(), |scope| scope.ports = vec![8080]), [1]);
    assert_eq!(seen(two(), |scope| scope.ports = vec![9000]), [2]);
    assert_eq!(seen(two(), |scope| scope.ports = vec![8080, 81]), [1, 2]);
    assert!(seen(two(), |scope| scope.ports = vec![7]).is_empty());
}

/// Nothing is read or named for what nobody asked for; but who is meant has to be found out first.
#[test]
fn data_requests_keep_to_what_was_asked_for() {
    let requested = |world: World, narrow: &dyn Fn(&mut crate::model::input::Scope)| {
        let mut world = world;
        narrow(&mut world.run_header.scope);
        let data_requests = crate::diagnose::data_requests(&world.tracker(), &|_| None, &|_| None);
        Vec::from_iter(data_requests.processes)
    };
    let other = |scope: &mut crate::model::input::Scope| scope.comm = Some("other".to_owned());
    assert_eq!(requested(two(), &|_| {}), [SERVER, OTHER]);
    assert_eq!(requested(two(), &|scope| scope.ports = vec![81]), [OTHER]);
    assert_eq!(requested(two(), &other), [OTHER]);
    let unknown = two().without(|input| matches!(input, Input::Process(_)));
    assert_eq!(requested(unknown, &other), [SERVER, OTHER]);
}

/// The kernel follows forks; what it follows now is what counts.
#[test]
fn a_pid_stands_for_itself_and_its_children() {
    let followed = |pids: &[u32]| two().with(Input::Followed(pids.to_vec()));
    assert_eq!(
        seen(followed(&[OTHER]), |scope| scope.pids = vec![OTHER]),
        [2]
    );
    assert_eq!(
        seen(followed(&[7, SERVER]), |scope| scope.pids = vec![7]),
        [1]
    );
    assert!(seen(followed(&[]), |scope| scope.pids = vec![7]).is_empty());
}

#[test]
fn a_comm_is_the_whole_name() {
    let named = |name: &str| seen(two(), |scope| scope.comm = Some(name.to_owned()));
    assert_eq!(named("other"), [2]);
    assert!(named("serv").is_empty());
}

#[test]
fn a_cgroup_covers_what_is_below_it_and_no_namesake() {
    let below = |path: &str| seen(two(), |scope| scope.cgroup = Some(path.to_owned()));
    assert_eq!(below("/system.slice/server.service"), [1]);
    assert_eq!(below("/system.slice"), [1, 2]);
    assert_eq!(below("/system.slice/"), [1, 2]);
    assert_eq!(below("/"), [1, 2]);
    assert!(below("/system.slice/serv").is_empty());
}

/// An unaccepted connection belongs to whoever listens.
#[test]
fn a_filter_by_process_finds_what_its_listener_holds() {
    let queue = || world([conn(1).unaccepted()]).with_listener("0.0.0.0:8080", &[SERVER], 1);
    let named = |name: &str| seen(queue(), |scope| scope.comm = Some(name.to_owned()));
    assert_eq!(named("server"), [1]);
    assert!(named("other").is_empty());
}

#[test]
fn a_window_is_whole_only_when_the_counters_balance() {
    let complete = |counters| {
        two()
            .with(Input::Counters(counters))
            .report()
            .window
            .complete
    };
    let counters = Counters {
        seen: 10,
        submitted: 10,
        received: 10,
        ..Counters::default()
    };
    assert!(complete(counters));
    assert!(!complete(Counters {
        received: 9,
        ..counters
    }));
    assert!(!complete(Counters {
        seen: 11,
        ..counters
    }));
}

#[test]
fn a_loss_is_told_and_was_repaired_by_the_look_after_it() {
    let report = two().with_lost(3).report();
    assert!(report.window.complete);
    assert_eq!(report.window.events.lost, 3);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.starts_with("3 events lost"))
    );
}

#[test]
fn before_the_first_input_there_is_no_report() {
    let tracker = crate::track::Tracker::default();
    let style = crate::diagnose::Style {
        sockets_per_site: 1,
    };
    assert!(crate::diagnose::report(&tracker, style, &|_| None).is_none());
}

/// Fixed files of an `io_uring`, or descriptors that nobody has received.
#[test]
fn what_no_process_holds_is_told_of_who_opened_it_and_may_be_anybodys_else() {
    let asked = |conn: crate::diagnose::tests::conn::Conn, pid: u32, port: Option<u16>| {
        let mut world = world([conn.held_by(&[])]).with(Input::Followed(vec![pid]));
        world.run_header.scope.pids = vec![pid];
        world.run_header.scope.ports = port.into_iter().collect();
        let report = world.report();
        let warned = report.warnings.join("; ").contains("held by no process");
        (report.sites.len(), warned)
    };
    let opened = || conn(1).accepted().eof();
    assert_eq!(asked(opened(), SERVER, None), (1, false));
    assert_eq!(
        asked(opened(), OTHER, None),
        (0, false),
        "it is the server's"
    );
    assert_eq!(asked(conn(1), SERVER, None), (0, true));
    assert_eq!(
        asked(conn(1), SERVER, Some(7)),
        (0, false),
        "of another port"
    );
}
