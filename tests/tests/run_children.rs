//! `sockleak run` and what becomes of CMD: killed, crashed, gone into the background, hidden in namespaces.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::process::tracer_of;
use tests::report::Report;
use tests::skip::{require_program, require_root};
use tests::sockleak::{Finished, Running, command, finish};
use tests::wait::wait_for;

const LIMIT: Duration = Duration::from_mins(2);

/// `leak(n)` leaves n accepted connections in `CLOSE_WAIT`; `os._exit` leaves them to the kernel.
const PRELUDE: &str = "
import os, signal, socket, sys, time
kept = []
def leak(n):
    s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(n)
    for _ in range(n):
        c = socket.create_connection(s.getsockname())
        a, _ = s.accept(); c.close(); a.recv(10)
        kept.append(a.detach())
    s.close()
";

struct Told {
    ended: Finished,
    report: Option<Report>,
}

impl Told {
    fn sockets(&self) -> u64 {
        let report = self.report.as_ref().expect("a report");
        report.sites.iter().map(|site| site.count as u64).sum()
    }

    fn code(&self) -> i32 {
        self.ended.code()
    }
}

fn run(options: &[&str], script: &str) -> Told {
    run_with(options, &["python3", "-c", &format!("{PRELUDE}{script}")])
}

fn run_with(options: &[&str], cmd: &[&str]) -> Told {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let json = file.path().to_str().expect("a path");
    let mut words = vec!["run", "--json", json];
    words.extend(options);
    words.push("--");
    words.extend(cmd);
    let ended = finish(&mut command(words), LIMIT);
    let text = std::fs::read_to_string(json).unwrap_or_default();
    let report = (!text.is_empty()).then(|| Report::parse(&text));
    Told { ended, report }
}

const STRICT: &[&str] = &["--exit-age", "0s"];

#[test]
fn a_command_that_lives_for_a_moment_is_judged() {
    if !require_root("a_command_that_lives_for_a_moment_is_judged") {
        return;
    }
    let told = run(STRICT, "leak(3); os._exit(0)");
    assert_eq!(
        (told.code(), told.sockets()),
        (23, 3),
        "{}",
        told.ended.stderr
    );
    let told = run(STRICT, "leak(3)\nfor a in kept: os.close(a)\nos._exit(0)");
    assert_eq!(
        (told.code(), told.sockets()),
        (0, 0),
        "{}",
        told.ended.stderr
    );
    // By default two seconds are nobody's leak.
    let told = run(&[], "leak(3); os._exit(0)");
    assert_eq!(
        (told.code(), told.sockets()),
        (0, 0),
        "{}",
        told.ended.stderr
    );
}

#[test]
fn the_own_failure_of_a_command_wins_and_its_leaks_are_told() {
    if !require_root("the_own_failure_of_a_command_wins_and_its_leaks_are_told") {
        return;
    }
    for (end, code) in [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.abort()", 134),
        ("os._exit(4)", 4),
    ] {
        let told = run(STRICT, &format!("leak(2); {end}"));
        assert_eq!(
            (told.code(), told.sockets()),
            (code, 2),
            "{end}: {}",
            told.ended.stderr
        );
        assert!(
            told.ended.stderr.contains(&format!("failed with {code}")),
            "{}",
            told.ended.stderr
        );
    }
}

#[test]
fn descriptors_that_a_command_closes_are_its_own() {
    if !require_root("descriptors_that_a_command_closes_are_its_own") {
        return;
    }
    let told = run(
        STRICT,
        "os.closerange(3, 65536); leak(2); os.closerange(3, 65536); os._exit(0)",
    );
    assert_eq!(
        (told.code(), told.sockets()),
        (0, 0),
        "{}",
        told.ended.stderr
    );
}

/// Forks twice, begins a session, and lives on for three seconds.
const DAEMON: &str = "
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        leak(2)
        open(sys.argv[1], 'w').write(str(os.getpid()))
        for fd in (0, 1, 2): os.close(fd)
        time.sleep(float(sys.argv[2]))
    os._exit(0)
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
os._exit(0)
";

fn daemon(options: &[&str], seconds: &str) -> (Told, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let path = file.to_str().expect("a path");
    let told = run_with(
        options,
        &[
            "python3",
            "-c",
            &format!("{PRELUDE}{DAEMON}"),
            path,
            seconds,
        ],
    );
    let pid = std::fs::read_to_string(&file).expect("the daemon's pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The first process of a container may leave the dead unburied.
    let alive = !stat.is_empty() && !stat.contains(") Z ");
    if alive {
        let pid = Pid::from_raw(pid.parse().expect("a pid")).expect("a pid");
        let _ = kill_process(pid, Signal::KILL);
    }
    (told, alive)
}

#[test]
fn a_daemon_belongs_to_the_command_and_is_left_alone() {
    if !require_root("a_daemon_belongs_to_the_command_and_is_left_alone") {
        return;
    }
    let says = |told: &Told| told.ended.stderr.contains("--wait-children DUR");
    let (told, alive) = daemon(&["--min-age", "1s"], "60");
    assert_eq!(
        (told.code(), told.sockets(), alive, says(&told)),
        (23, 2, true, true),
        "{}",
        told.ended.stderr
    );
    let (told, alive) = daemon(&["--min-age", "1s", "--kill-children"], "60");
    assert_eq!(
        (told.code(), told.sockets(), alive, says(&told)),
        (23, 2, false, false),
        "{}",
        told.ended.stderr
    );
    // It ends before what it holds is old enough.
    let (told, alive) = daemon(
        &[
            "--min-age",
            "20s",
            "--wait-children",
            "30s",
            "--exit-age",
            "0s",
        ],
        "2",
    );
    assert_eq!(
        (told.code(), told.sockets(), alive),
        (23, 2, false),
        "{}",
        told.ended.stderr
    );
}

#[test]
fn namespaces_do_not_hide_a_leak() {
    let name = "namespaces_do_not_hide_a_leak";
    if !require_root(name) || !require_program(name, "unshare") {
        return;
    }
    let script =
        format!("{PRELUDE}\nos.system('ip link set lo up'); leak(2); time.sleep(1.5); os._exit(0)");
    let told = run_with(
        &["--min-age", "1s"],
        &["unshare", "-n", "-m", "-u", "-i", "python3", "-c", &script],
    );
    assert_eq!(
        (told.code(), told.sockets()),
        (23, 2),
        "{}",
        told.ended.stderr
    );
}

#[test]
fn thousands_of_short_children_are_no_loss() {
    if !require_root("thousands_of_short_children_are_no_loss") {
        return;
    }
    let script = "i=0; while [ $i -lt 5000 ]; do /bin/true; i=$((i+1)); done";
    let told = run_with(&[], &["sh", "-c", script]);
    assert_eq!(told.code(), 0, "{}", told.ended.stderr);
    let report = told.report.expect("a report");
    assert!(
        report.window.complete && report.window.events.lost == 0,
        "{report:?}"
    );
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let name = "ctrl_c_reaches_the_command_once";
    if !require_root(name) || !require_program(name, "script") {
        return;
    }
    let inner = "trap 'echo interrupted' INT; echo ready; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done; exit 9";
    // Without `exec` a shell between the terminal and us would get the key too, and end by it.
    let line = format!(
        "exec {} run -- bash -c \"{inner}\"",
        tests::paths::sockleak().display()
    );
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped());
    let mut child = terminal.stdout(Stdio::piped()).spawn().expect("script");
    let lines = tests::lines::Lines::of(child.stdout.take().expect("stdout"));
    assert!(lines.after("ready", LIMIT).is_some());
    let mut keys = child.stdin.take().expect("stdin");
    std::io::Write::write_all(&mut keys, b"\x03").expect("a key");
    let status = tests::process::wait(&mut child, LIMIT).expect("an end");
    drop(keys);
    assert_eq!(status.code(), Some(9), "{:?}", lines.so_far());
    let told = lines.so_far();
    let times = told
        .iter()
        .filter(|line| line.contains("interrupted"))
        .count();
    assert_eq!(times, 1, "{told:?}");
}

/// A tracer that gets no CPU cannot empty its ring.
#[test]
fn lost_events_are_inconclusive() {
    if !require_root("lost_events_are_inconclusive") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let go = folder.path().join("go");
    let script = format!(
        "{PRELUDE}
print('ready', flush=True)
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
for _ in range(40):
    if os.fork() == 0:
        leak(450); os._exit(0)
    os.wait()
os._exit(0)
"
    );
    let path = go.to_str().expect("a path");
    let words = [
        "run",
        "--exit-age",
        "0s",
        "--min-age",
        "30s",
        "--",
        "python3",
        "-c",
        &script,
        path,
    ];
    let mut running = Running::start(&mut command(words));
    assert!(running.stdout().after("ready", LIMIT).is_some());
    let tracer = tracer_of(running.pid()).expect("a tracer");
    let tracer = Pid::from_raw(tracer as i32).expect("a pid");
    kill_process(tracer, Signal::STOP).expect("stop the tracer");
    std::fs::write(&go, "").expect("let go");
    let cmd = running.pid();
    wait_for("the command has ended", LIMIT, || children(cmd) == 1);
    kill_process(tracer, Signal::CONT).expect("let the tracer go on");
    running.wait(LIMIT);
    let ended = running.ended();
    // What was seen is told, so 23 is as true; what was not seen makes it no 0.
    assert_ne!(ended.code(), 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("lost"), "{}", ended.stderr);
}

fn children(pid: u32) -> usize {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().count()
}
