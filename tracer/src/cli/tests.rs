//! Command lines as users write them, right and wrong.

use std::time::Duration;

use super::*;
use crate::probe::attach::AcceptHook;

fn options(line: &str) -> Options {
    parse_from(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refusal(line: &str) -> String {
    let error = parse_from(words(line)).expect_err(line);
    assert_eq!(error.exit_code(), i32::from(exit::USAGE), "{line}");
    assert!(error.use_stderr(), "{line}");
    better(&error).unwrap_or_else(|| error.to_string())
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    std::iter::once("sockleak").chain(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn watch_needs_no_name() {
    for line in ["--duration 20s --json", "watch --duration 20s --json"] {
        let options = options(line);
        assert_eq!(options.mode, Mode::Watch);
        assert_eq!(options.duration, Some(Duration::from_secs(20)));
        assert!(options.json);
    }
    let defaults = options("");
    assert_eq!(defaults.min_age, Duration::from_mins(1));
    assert_eq!((defaults.sockets_per_site, defaults.leak_exit), (5, None));
    assert_eq!(defaults.accept_hook, AcceptHook::Auto);
    assert!(defaults.filter.is_empty() && defaults.duration.is_none());
}

#[test]
fn each_command_takes_its_options() {
    let trace = options("trace --json --port 80 --port 443 --port 80 --output o -vv");
    assert_eq!((trace.mode, trace.verbosity), (Mode::Trace, 2));
    assert_eq!(trace.filter.ports, [80, 443]);
    let snapshot = options("snapshot --pid 7 --pid 3 --comm java --cgroup /a --show-cmdline");
    assert_eq!(snapshot.filter.pids, [3, 7]);
    assert!(snapshot.show_cmdline);
    let replay = options("replay x.rec --json --min-age 1s --fail-on-leak --redact-addrs");
    assert_eq!(replay.mode, Mode::Replay("x.rec".into()));
    assert_eq!(replay.leak_exit, Some(exit::LEAK));
    assert_eq!(options("doctor --json -v").mode, Mode::Doctor);
    assert_eq!(options("snapshot --output -").output, None);
    for command in ["watch", "snapshot", "replay x.rec"] {
        let line = format!("{command} --not-blame libpool.so --not-blame pool:: --folded f");
        let sparing = options(&line);
        assert_eq!(sparing.not_blame, ["libpool.so", "pool::"]);
        assert_eq!(sparing.folded, Some("f".into()));
    }
    let code = options("--fail-on-leak --error-exitcode 9 --accept-hook none");
    assert_eq!(
        (code.leak_exit, code.accept_hook),
        (Some(9), AcceptHook::None)
    );
}

#[test]
fn a_wrong_option_is_named() {
    for (line, said) in [
        ("--no-such-option", "--no-such-option"),
        ("no-such-command", "no-such-command"),
        ("watch --duration soon", "write a number and a unit"),
        ("watch --duration 0s", "before it begins"),
        ("--min-age 5", "unit is missing"),
        ("watch --port 70000", "70000 is not in 1..=65535"),
        ("watch --port 0", "0 is not in 1..=65535"),
        ("watch --pid me", "--pid <PID>"),
        ("--pid 999999999", "999999999"),
        ("--accept-hook maybe", "auto, fexit, syscall, none"),
        ("replay", "<FILE>"),
        ("snapshot --record f", "--record"),
        ("snapshot --duration 1s", "--duration"),
        ("trace --min-age 1s", "--min-age"),
        ("replay f --pid 1", "--pid"),
        ("--error-exitcode 9", "--fail-on-leak"),
        ("--fail-on-leak --error-exitcode 0", "nothing leaked"),
        ("--fail-on-leak --error-exitcode 125", "sockleak"),
        ("--fail-on-leak --error-exitcode 256", "1 to 255"),
        ("--output f --record f", "same file"),
        ("run --json - --junit - -- true", "same file: -"),
        ("run --sarif f --folded f -- true", "same file: f"),
        ("snapshot --comm=", "empty"),
        (
            "--json snapshot",
            "options go after the command: sockleak snapshot [OPTIONS]",
        ),
    ] {
        let message = refusal(line);
        assert!(message.contains(said), "{line}: {message}");
    }
    let many: Vec<String> = (1..10).map(|n| format!("--port {n}")).collect();
    let message = refusal(&many.join(" "));
    assert!(message.contains("at most 8"), "{message}");
}

#[test]
fn what_follows_the_command_of_run_is_its_own() {
    let Mode::Run(run) = options("run --strict -- make --min-age test").mode else {
        panic!("no run");
    };
    assert_eq!(run.command, ["make", "--min-age", "test"]);
    assert!(run.strict);
    let options = options("run make -j2 --json x");
    assert_eq!(options.min_age, Duration::from_secs(2));
    let Mode::Run(run) = options.mode else {
        panic!("no run");
    };
    assert_eq!(run.command.len(), 4);
    assert_eq!(run.exit_age, Duration::from_secs(2));
    assert_eq!(run.settle, Duration::from_millis(2500));
    assert!(refusal("run").contains("CMD"));
    assert!(refusal("run --timeout 3s -- true").contains("--until"));
    assert!(refusal("run --max-growth 2 -- true").contains("--baseline"));
}

/// For clap `{n}` is the end of a line.
#[test]
fn the_help_shows_what_stands_for_the_size() {
    let mut command = command();
    let run = command.find_subcommand_mut("run").unwrap();
    let help = run.render_help().to_string();
    assert!(help.contains("Run CMD with {n} (and SOCKLEAK_N)"), "{help}");
    assert!(!help.contains('\u{1b}'), "{help}");
}

#[test]
fn a_recording_of_run_does_not_go_to_stdout() {
    assert!(refusal("run --record - -- true").contains("name a file"));
    assert_eq!(options("run --record r -- true").record, Some("r".into()));
}
