//! What the README says can be done is done: its marked blocks run as they stand, against a rig that
//! leaks meanwhile; its options and exit codes are those of the program.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::client::{self, Manner};
use tests::report::{Report, Site};
use tests::rig::{Rig, Start};
use tests::sockleak::{self, Finished};
use tests::{manifest, paths, skip};

const RIG: &str = "c-eof-ignored-debug";
const FUNCTION: &str = "handle_client_and_forget";
const LIMIT: Duration = Duration::from_mins(1);
/// The README's process and port are the rig's here, and nobody waits for minutes.
const TIMES: [(&str, &str); 2] = [
    ("--duration 5m", "--duration 5s --min-age 1s"),
    ("--duration 10s", "--duration 3s"),
];

const TESTED: &str = "fail-on-leak json one-service record snapshot trace watch";

/// A fenced `sh` block and the comment in front of it.
struct Block {
    mark: String,
    text: String,
}

#[test]
fn snapshot() {
    expect("snapshot", &["sockets are stuck", "looked once at"]);
}

#[test]
fn watch() {
    expect("watch", &["LEAK", FUNCTION, "eof_ignored.c:"]);
}

#[test]
fn one_service() {
    expect("one-service", &["LEAK", FUNCTION, "eof_ignored.c:"]);
}

#[test]
fn json() {
    run("json", |done, folder| {
        says(done, &[]);
        let text = std::fs::read_to_string(folder.join("report.json")).expect("the report");
        let report = Report::parse(&text);
        let blamed = |site: &Site| site.blame.as_ref().map(|blame| blame.function.clone());
        let site = report
            .sites
            .iter()
            .find(|site| blamed(site).as_deref() == Some(FUNCTION));
        let site = site.unwrap_or_else(|| panic!("nobody blames {FUNCTION}: {text}"));
        assert_eq!(site.verdict, "eof-ignored");
        assert!(!text.contains("\"127.0.0.1\""), "remote addresses: {text}");
    });
}

#[test]
fn fail_on_leak() {
    expect("fail-on-leak", &[FUNCTION, "sockleak ended with 23"]);
}

#[test]
fn record() {
    run("record", |done, _| {
        says(done, &[]);
        let reports = done.stdout.matches("high confidence").count();
        assert_eq!(reports, 2, "one live, one replayed:\n{}", done.stdout);
    });
}

#[test]
fn trace() {
    expect(
        "trace",
        &["OLD -> NEW", "ESTABLISHED -> CLOSE_WAIT", "peer_fin"],
    );
}

fn expect(name: &str, words: &[&str]) {
    run(name, |done, _| says(done, words));
}

/// Runs a block in a folder of its own while the rig leaks, and hands over what it printed.
fn run(name: &str, check: impl FnOnce(&Finished, &Path)) {
    if !skip::require_root(&format!("readme::{name}")) {
        return;
    }
    let block = blocks()
        .into_iter()
        .find(|block| block.mark == format!("tested: {name}"));
    let text = block
        .unwrap_or_else(|| panic!("the README has no block `tested: {name}`"))
        .text;
    let entry = manifest::entry(RIG);
    let how = Start {
        connections: Some(1000),
        ..Start::default()
    };
    let rig = Rig::start(&entry, &how);
    // Something for a snapshot, whose sockets must be older than its --min-age.
    client::visit(rig.address(), 2, Manner::ReplyThenClose);
    let folder = tempfile::tempdir().expect("a folder for the block");
    let mut shell = shell(&script(&text, &rig), folder.path());
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Ends by itself too: a block that hangs must not keep its test from saying so.
            while !over.load(Ordering::Relaxed) && began.elapsed() < LIMIT {
                client::visit(rig.address(), 1, Manner::ReplyThenClose);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let done = sockleak::finish(&mut shell, LIMIT);
        over.store(true, Ordering::Relaxed);
        done
    });
    check(&done, folder.path());
}

fn script(text: &str, rig: &Rig) -> String {
    let mut script = text.replace("4242", &rig.pid().to_string());
    script = script.replace("8080", &rig.port.to_string());
    for (written, here) in TIMES {
        script = script.replace(written, here);
    }
    script.replace("sockleak snapshot", "sockleak snapshot --min-age 1s")
}

/// `sh` with `sockleak` in PATH, and a `sudo` that need not change anything.
fn shell(script: &str, folder: &Path) -> Command {
    let programs = folder.join("bin");
    std::fs::create_dir(&programs).expect("a folder for programs");
    symlink(paths::sockleak(), programs.join("sockleak")).expect("install the program");
    let sudo = programs.join("sudo");
    std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").expect("write sudo");
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).expect("chmod sudo");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    // A snapshot sees what is older than a second.
    let whole = format!("sleep 1.5\n{script}");
    command
        .args(["-euc", &whole])
        .current_dir(folder)
        .env("NO_COLOR", "1");
    command.env("PATH", format!("{}:{path}", programs.display()));
    command
}

fn says(done: &Finished, words: &[&str]) {
    assert_eq!(done.code(), 0, "{}\n{}", done.stdout, done.stderr);
    for word in words {
        assert!(
            done.stdout.contains(word),
            "{word:?} is not in:\n{}",
            done.stdout
        );
    }
}

#[test]
fn every_block_of_commands_is_tested_or_says_why_not() {
    let blocks = blocks();
    let mut found = BTreeSet::new();
    for block in &blocks {
        match block.mark.split_once(": ") {
            Some(("tested", name)) => assert!(found.insert(name), "two blocks are {name}"),
            Some(("not run", why)) if !why.is_empty() => {}
            _ => panic!(
                "a block is neither tested nor says why not:\n{}",
                block.text
            ),
        }
    }
    assert_eq!(Vec::from_iter(found).join(" "), TESTED);
}

#[test]
fn the_tables_are_those_of_the_program() {
    let help = sockleak::run(["--help"]).stdout;
    let (options, codes) = help
        .split_once("Exit codes:")
        .expect("exit codes in --help");
    let (options, _) = options.split_once("Examples:").expect("examples in --help");
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let long = words.filter(|word| word.starts_with("--") && *word != "--help");
        long.map(str::to_owned).collect()
    };
    let readme = readme();
    let (before, rest) = readme.split_once("\n### Options\n").expect("options");
    let (common, after) = rest.split_once("\n### ").expect("what follows them");
    let rows = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter(|line| line.starts_with("| `--"));
        names(&rows.collect::<String>())
    };
    let mut known = names(options);
    known.remove("--version");
    assert_eq!(rows(common), known);
    // Those of single commands are told beside them, the important ones only.
    let of_run = names(&sockleak::run(["run", "--help"]).stdout);
    let elsewhere = &rows(before) | &rows(after);
    let unknown: Vec<&String> = elsewhere.difference(&of_run).collect();
    assert!(unknown.is_empty(), "no options of run: {unknown:?}");
    for code in codes
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        assert!(
            readme.contains(&format!("| {code} | ")),
            "no row for exit code {code}"
        );
    }
}

fn readme() -> String {
    std::fs::read_to_string(paths::workspace().join("README.md")).expect("read the README")
}

fn blocks() -> Vec<Block> {
    let readme = readme();
    let mut blocks = Vec::new();
    let mut before = "";
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line == "```sh" {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mark = before
                .strip_prefix("<!-- ")
                .and_then(|mark| mark.strip_suffix(" -->"));
            blocks.push(Block {
                mark: mark.unwrap_or_default().to_owned(),
                text: text.join("\n"),
            });
        }
        before = line;
    }
    blocks
}
