//! `sockleak run`: CMD's own status, streams and signals, and what a leak makes of them.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tests::skip::require_root;
use tests::sockleak::{Running, command, finish, run};
use tests::wait::wait_for;

const LIMIT: Duration = Duration::from_mins(1);

fn shell(script: &str) -> tests::sockleak::Finished {
    run(["run", "--", "sh", "-c", script])
}

#[test]
fn the_status_of_the_command_is_kept() {
    if !require_root("the_status_of_the_command_is_kept") {
        return;
    }
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 125", 125),
        ("kill -TERM $$", 143),
    ] {
        let ended = shell(script);
        assert_eq!(ended.code(), code, "{script}: {}", ended.stderr);
    }
    run(["run", "--", "no-such-program"]).said(127, &["no-such-program", "what to do"]);
    run(["run", "--", "/etc/passwd"]).said(126, &["/etc/passwd", "what to do"]);
}

#[test]
fn nothing_is_between_the_command_and_its_streams() {
    if !require_root("nothing_is_between_the_command_and_its_streams") {
        return;
    }
    let script = "cat; echo to stderr >&2; ls /proc/self/fd; ps -o args= -p $$";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first\nsecond\n").unwrap();
    let with_stdin = |command: &mut Command| {
        command.stdin(std::fs::File::open(file.path()).unwrap());
        finish(command, LIMIT)
    };
    let alone = with_stdin(Command::new("sh").args(["-c", script]));
    let followed = with_stdin(&mut command(["run", "--", "sh", "-c", script]));
    // Among them the list of open descriptors.
    assert_eq!(followed.stdout, alone.stdout);
    assert!(
        alone.stdout.starts_with("first\nsecond\n0\n1\n"),
        "{}",
        alone.stdout
    );
    assert!(followed.stderr.contains("to stderr"), "{}", followed.stderr);
}

#[test]
fn signals_reach_the_command() {
    if !require_root("signals_reach_the_command") {
        return;
    }
    let blocked = shell("grep SigBlk /proc/self/status").stdout;
    assert!(
        blocked.trim_end().ends_with("0000000000000000"),
        "{blocked}"
    );
    // 40 has no name, and Ctrl-C comes from a terminal: an INT that a process sends is passed on.
    for (name, number) in [
        ("TERM", 15),
        ("HUP", 1),
        ("USR1", 10),
        ("INT", 2),
        ("40", 40),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
        );
        // A shell in the background may not trap what was ignored; dash and bash can trap these here.
        let mut running = Running::start(&mut command(["run", "--", "bash", "-c", &script]));
        assert!(running.stdout().after("ready", LIMIT).is_some());
        let sent = Command::new("bash")
            .args(["-c", &format!("kill -{number} {}", running.pid())])
            .status();
        assert!(sent.unwrap().success());
        assert!(
            running
                .stdout()
                .after(&format!("got {name}"), LIMIT)
                .is_some(),
            "{name}"
        );
        running.wait(LIMIT);
    }
}

#[test]
fn a_stopped_command_stops_us_and_both_go_on() {
    if !require_root("a_stopped_command_stops_us_and_both_go_on") {
        return;
    }
    let script = "echo $$; kill -STOP $$; echo on; exit 4";
    let mut command = command(["run", "--", "sh", "-c", script]);
    command.process_group(0);
    let mut running = Running::start(&mut command);
    let pid: u32 = running
        .stdout()
        .after("", LIMIT)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
    };
    wait_for("both are stopped", LIMIT, || {
        state(pid) == Some('T') && state(running.pid()) == Some('T')
    });
    // As `fg` does: the whole process group.
    let group = Pid::from_raw(running.pid() as i32).unwrap();
    kill_process_group(group, Signal::CONT).unwrap();
    assert!(running.stdout().after("on", LIMIT).is_some());
    running.wait(LIMIT);
}

#[test]
fn the_command_does_not_outlive_a_gate_that_nobody_opens() {
    if !require_root("the_command_does_not_outlive_a_gate_that_nobody_opens") {
        return;
    }
    // Killed before the tracer can have attached, which takes longer than this.
    let mut killed = Command::new(tests::paths::sockleak())
        .args(["run", "--", "touch", "/tmp/sockleak-must-not-exist"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(20));
    killed.kill().unwrap();
    let status = killed.wait().unwrap();
    assert_eq!(status.signal(), Some(9));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!std::path::Path::new("/tmp/sockleak-must-not-exist").exists());
}
