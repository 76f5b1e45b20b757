//! Where the report goes: a file, a full disk, a pipe nobody reads any more.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::OpenOptions;
use std::process::Command;
use std::time::Duration;
use tests::report::Report;
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{client, expect, manifest, skip, sockleak, wait};

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: [&str; 4] = ["watch", "--json", "--duration", "500ms"];
const WATCH: [&str; 5] = ["--json", "--min-age", "1s", "--duration", "60s"];

/// `--output FILE` holds the same document stdout would have.
#[test]
fn output_goes_to_a_file_when_asked() {
    if !skip::require_root("output_goes_to_a_file_when_asked") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the report");
    let file = folder.path().join("report.json");
    let file_name = file.to_str().expect("a name in UTF-8");
    let tracer = Running::watch(WATCH.iter().chain(&["--output", file_name]));
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    let finished = tracer.stop();
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    assert!(
        !finished.stdout.contains("\"schema\""),
        "the report went to the file"
    );
    let text = std::fs::read_to_string(&file).expect("read the report");
    expect::one_site(&Report::parse(&text), &rig);
}

#[test]
fn a_full_disk_is_an_error() {
    if !skip::require_root("a_full_disk_is_an_error") {
        return;
    }
    let finished = sockleak::run(SHORT.iter().chain(&["--output", "/dev/full"]));
    finished.said(125, &["/dev/full"]);
    let mut to_stdout = sockleak::command(["snapshot", "--json"]);
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("open /dev/full");
    let status = to_stdout.stdout(full).status().expect("run sockleak");
    assert_eq!(
        status.code(),
        Some(125),
        "a report that is not written is not a success"
    );
    let finished = sockleak::run(SHORT.iter().chain(&["--record", "/dev/full"]));
    finished.said(125, &["/dev/full"]);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    if !skip::require_root("a_closed_pipe_ends_it_quietly") {
        return;
    }
    let rig = Rig::healthy(&manifest::entry("c-lost-reference"));
    for args in [
        &["snapshot", "--json"][..],
        &["doctor"],
        &["trace", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = sockleak::command(args);
        let mut child = command.stdout(writer).spawn().expect("start sockleak");
        drop(command);
        let status = wait::poll_for(LIMIT, || {
            // Only a transition makes `trace` write, and so notice.
            client::visit(rig.address(), 1, manifest::entry("c-lost-reference").client);
            child.try_wait().expect("wait for sockleak")
        });
        let _ = child.kill();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{args:?}");
    }
}

/// A shell pipeline, as users write it.
#[test]
fn head_takes_one_line_and_leaves() {
    if !skip::require_root("head_takes_one_line_and_leaves") {
        return;
    }
    let mut shell = Command::new("bash");
    shell.args([
        "-c",
        "\"$0\" snapshot --json | head -1; echo ${PIPESTATUS[0]}",
    ]);
    let finished = sockleak::finish(shell.arg(tests::paths::sockleak()), LIMIT);
    assert_eq!(finished.stdout, "{\n0\n", "{}", finished.stderr);
}
