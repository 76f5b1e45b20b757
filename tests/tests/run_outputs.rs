//! `sockleak run` and its files: what CI systems read is what their formats say, whatever a process is called; and what
//! is known of more than one run.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::skip::{require_program, require_root};
use tests::sockleak::{Finished, command, finish};
use tests::{moment, paths};

const LIMIT: Duration = Duration::from_mins(1);

fn sockleak(folder: &Path, words: &[&str]) -> Finished {
    let mut command = command(words);
    command
        .current_dir(folder)
        .env("GITHUB_STEP_SUMMARY", folder.join("summary.md"));
    finish(&mut command, LIMIT)
}

fn ready(name: &str) -> Option<tempfile::TempDir> {
    (require_root(name) && require_program(name, "gcc"))
        .then(|| tempfile::tempdir().expect("a folder"))
}

#[test]
fn a_process_called_like_a_command_gives_none() {
    let name = "a_process_called_like_a_command_gives_none";
    let Some(folder) = ready(name) else { return };
    if !require_program(name, "xmllint") {
        return;
    }
    let program = moment::build(folder.path());
    fs::rename(&program, folder.path().join("::error")).expect("rename");
    let outputs = ["--github", "--junit", "j.xml", "--sarif", "s.json"];
    let words = [
        &["run", "--exit-age", "0s"],
        &outputs[..],
        &["--", "./::error", "2", "0"],
    ];
    let ended = sockleak(folder.path(), &words.concat());
    assert_eq!(ended.code(), 23, "{}", ended.stderr);
    let told: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("::error file=moment.c,line="),
        "{told:?}"
    );
    let commands = |text: &str| text.lines().any(|line| line.trim_start().starts_with("::"));
    assert!(!commands(&ended.stderr), "{}", ended.stderr);
    let summary = fs::read_to_string(folder.path().join("summary.md")).expect("a summary");
    assert!(summary.contains("handle_client"), "{summary}");
    is_junit(&folder.path().join("j.xml"));
    let sarif = fs::read_to_string(folder.path().join("s.json")).expect("SARIF");
    is_sarif(&sarif);
    assert!(sarif.contains("\"uri\": \"moment.c\""), "{sarif}");
}

fn is_junit(file: &Path) {
    let schema = paths::tests_dir().join("schemas/junit.xsd");
    let mut lint = Command::new("xmllint");
    lint.args(["--noout", "--schema"]).arg(schema).arg(file);
    let checked = finish(&mut lint, LIMIT);
    assert_eq!(checked.code(), 0, "{}", checked.stderr);
}

/// By the schema of the standard, which a crate brings along.
fn is_sarif(text: &str) {
    let mut metadata = Command::new(env!("CARGO"));
    // What other platforms need was never fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    metadata
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &platform])
        .current_dir(paths::workspace());
    let metadata: serde_json::Value =
        serde_json::from_str(&finish(&mut metadata, LIMIT).stdout).expect("cargo metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let of = |package: &&serde_json::Value| package["name"] == "serde-sarif";
    let package = packages.iter().find(of).expect("the package");
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
    let schema = manifest.with_file_name("src").join("schema.json");
    let schema = fs::read_to_string(schema).expect("the schema");
    let schema = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let document = serde_json::from_str(text).expect("JSON");
    let wrong: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_baseline_holds_for_the_next_build_in_another_folder() {
    let name = "a_baseline_holds_for_the_next_build_in_another_folder";
    let Some(folder) = ready(name) else { return };
    moment::build(folder.path());
    let strict = ["run", "--exit-age", "0s"];
    let moment = ["--", "./moment", "2", "0"];
    let write = ["--write-baseline", "known.json"];
    let ended = sockleak(folder.path(), &[&strict[..], &write, &moment].concat());
    assert_eq!(ended.code(), 23, "{}", ended.stderr);
    let moved = folder.path().join("elsewhere");
    fs::create_dir(&moved).expect("a folder");
    moment::build_below(&moved, 40);
    let read = ["--baseline", "../known.json"];
    let ended = sockleak(&moved, &[&strict[..], &read, &moment].concat());
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let more = ["--", "./moment", "3", "0"];
    let ended = sockleak(&moved, &[&strict[..], &read, &more].concat());
    assert_eq!(ended.code(), 23, "{}", ended.stderr);
    let growth = ["--max-growth", "1"];
    let ended = sockleak(&moved, &[&strict[..], &read, &growth, &more].concat());
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
}

#[test]
fn several_runs_are_counted_and_compared() {
    let Some(folder) = ready("several_runs_are_counted_and_compared") else {
        return;
    };
    moment::build(folder.path());
    // It leaks in every second run.
    let sometimes =
        "if [ -e ran ]; then rm ran; exec ./moment 1 0 healthy; fi; : > ran; exec ./moment 1 0";
    let words = [
        "run",
        "--exit-age",
        "0s",
        "--repeat",
        "4",
        "--",
        "sh",
        "-c",
        sometimes,
    ];
    sockleak(folder.path(), &words).said(23, &["2 of 4 runs"]);
    let scale = [
        "run",
        "--exit-age",
        "0s",
        "--scale",
        "2,6",
        "--",
        "./moment",
    ];
    let ended = sockleak(folder.path(), &[&scale[..], &["{n}", "0"]].concat());
    ended.said(23, &["2 sockets in the small run, 6 in the large one"]);
    // What does not grow is a pool, also where the size comes by the variable.
    let pool = "test \"$SOCKLEAK_N\" -ge 2 && exec ./moment 3 0";
    let scale = [
        "run",
        "--exit-age",
        "0s",
        "--scale",
        "2,6",
        "--",
        "sh",
        "-c",
        pool,
    ];
    sockleak(folder.path(), &scale).said(0, &["3 sockets in the small run, 3 in the large one"]);
}

#[test]
fn every_output_holds_what_any_run_has_found() {
    let Some(folder) = ready("every_output_holds_what_any_run_has_found") else {
        return;
    };
    moment::build(folder.path());
    let first = "if [ -e ran ]; then exec ./moment 1 0 healthy; fi; : > ran; exec ./moment 2 0";
    let words = [
        &["run", "--exit-age", "0s", "--repeat", "2"][..],
        &["--json", "r.json", "--sarif", "s.json", "--folded", "f"],
        &["--", "sh", "-c", first],
    ];
    sockleak(folder.path(), &words.concat()).said(23, &["1 of 2 runs"]);
    let read = |name| fs::read_to_string(folder.path().join(name)).expect("an output");
    let json = |name| -> serde_json::Value { serde_json::from_str(&read(name)).expect("JSON") };
    let report = json("r.json");
    assert_eq!(report["sites"][0]["count"], 2, "{report}");
    let runs = serde_json::json!({"appeared": 1, "of": 2});
    assert_eq!(report["sites"][0]["runs"], runs, "{report}");
    let sarif = json("s.json");
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    assert_eq!(results.len(), 1, "{sarif}");
    let stacks = read("f");
    assert!(stacks.contains("handle_client"), "{stacks}");
    assert!(stacks.trim_end().ends_with(" 2"), "{stacks}");
}

#[test]
fn an_output_that_fails_takes_nothing_else_with_it() {
    let Some(folder) = ready("an_output_that_fails_takes_nothing_else_with_it") else {
        return;
    };
    moment::build(folder.path());
    let full = |script: &str| {
        let words = [
            &["run", "--exit-age", "0s", "--json", "/dev/full"][..],
            &["--junit", "j.xml", "--github", "--", "sh", "-c", script],
        ];
        let mut command = command(words.concat());
        command
            .current_dir(folder.path())
            .env("GITHUB_STEP_SUMMARY", "/nonexistent/summary.md");
        finish(&mut command, LIMIT)
    };
    let both = [
        "cannot write the report to /dev/full",
        "cannot add the summary to /nonexistent/summary.md",
    ];
    for (script, code, told) in [
        ("./moment 2 0", 23, "2 sockets leaked at 1 place"),
        ("./moment 2 0; exit 7", 7, "2 sockets leaked at 1 place"),
        ("./moment 2 0 healthy", 125, "no socket leaked"),
    ] {
        let ended = full(script);
        ended.said(code, &both);
        ended.said(code, &[told]);
        let junit = fs::read_to_string(folder.path().join("j.xml")).expect("JUnit XML");
        assert!(junit.trim_end().ends_with("</testsuites>"), "{junit}");
    }
}

#[test]
fn an_output_on_stdout_follows_what_was_written_there() {
    let Some(folder) = ready("an_output_on_stdout_follows_what_was_written_there") else {
        return;
    };
    let sockleak = paths::sockleak();
    for stdout in ["-", "/dev/stdout"] {
        let script = format!("{{ \"$0\" run --json {stdout} -- echo before; echo after; }} > all");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(&sockleak);
        let ended = finish(shell.current_dir(folder.path()), LIMIT);
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        let all = fs::read_to_string(folder.path().join("all")).expect("the file");
        let report = all.strip_prefix("before\n").expect("first what CMD wrote");
        let report = report.strip_suffix("after\n").expect("nothing over it");
        let report: serde_json::Value = serde_json::from_str(report).expect("one document");
        assert_eq!(report["schema"], "sockleak.report/1");
    }
    assert!(!folder.path().join("-").exists());
}

#[test]
fn a_report_of_a_bug_reproduces_itself() {
    let Some(folder) = ready("a_report_of_a_bug_reproduces_itself") else {
        return;
    };
    moment::build(folder.path());
    let until = |what: &str, rig: &[&str]| {
        let words = [
            "run",
            "--min-age",
            "300ms",
            "--timeout",
            "8s",
            "--until",
            what,
            "--",
        ];
        sockleak(folder.path(), &[&words, rig].concat())
    };
    let began = std::time::Instant::now();
    let found = until("eof-ignored:handle_client", &["./moment", "2", "30000"]);
    assert_eq!(found.code(), 0, "{}", found.stderr);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{}",
        found.stderr
    );
    let fixed = until(
        "eof-ignored:handle_client",
        &["./moment", "2", "500", "healthy"],
    );
    fixed.said(124, &["did not appear"]);
    let elsewhere = until("eof-ignored:another", &["./moment", "2", "900"]);
    elsewhere.said(124, &["did not appear"]);
}
