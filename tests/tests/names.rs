//! docs/names.md: what each language and kind of build gives in each place of a report. Written from
//! real programs under the real tracer when `SOCKLEAK_WRITE_NAMES` is set, compared otherwise.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use tests::manifest::Entry;
use tests::report::{Frame, Report, Site};
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, paths, skip, sockleak, wait};

/// The rig, and what a reader is to know about its build.
const BUILDS: [(&str, &str, &str); 10] = [
    ("c-eof-ignored", "C", "glibc, `-O2 -fomit-frame-pointer`"),
    ("c-eof-ignored-debug", "C", "the same with `-g`"),
    ("c-eof-ignored-stripped", "C", "the same, stripped"),
    ("c-eof-ignored-static-pie", "C", "glibc, `-static-pie`"),
    ("c-eof-ignored-musl-static", "C", "musl, `-static`"),
    ("cpp-eof-ignored", "C++", "libstdc++, `-O2`"),
    ("rust-eof-ignored", "Rust", "`-O3 -g`"),
    ("go-eof-ignored", "Go", "as it comes"),
    ("go-eof-ignored-stripped", "Go", "`-ldflags='-s -w'`"),
    ("python-eof-ignored", "Python", "CPython without `-X perf`"),
];
const PLACES: [&str; 3] = ["opened", "eof", "last_used"];
const HEAD: &str = "# What is named\n\n\
    Each cell is the innermost frame of the program's own code in that stack, as a run of one rig gave it (`eof-ignored`: a \
    server that reads the end of the\nstream and does not close). Written by the test `names_are_as_documented` with \
    `SOCKLEAK_WRITE_NAMES=1`; do not edit.\n\n\
    | language | build | opened | read the end | last used | thread of the holder |\n\
    |---|---|---|---|---|---|\n";

#[test]
fn names_are_as_documented() {
    if !skip::require_root("names_are_as_documented") {
        return;
    }
    let entries = BUILDS.map(|(name, _, _)| manifest::entry(name));
    for entry in &entries {
        tests::compile::command(entry);
    }
    let tracer = Running::watch(["--json", "--min-age", "1s", "--duration", "180s"]);
    let rigs = entries.map(|entry| Rig::leaking(&entry));
    wait::outlive_one_second();
    let report = tracer.stop().report();
    let mut rows = Vec::new();
    for rig in &rigs {
        let site = the_site(&report, rig);
        rows.push(PLACES.map(|place| cell(&rig.entry, site, place)).to_vec());
    }
    let rigs = rigs.map(|rig| rig.entry.clone());
    let mut table = HEAD.to_owned();
    for ((entry, mut cells), (_, language, build)) in rigs.iter().zip(rows).zip(BUILDS) {
        cells.push(holder(entry));
        let cells = cells.join(" | ");
        writeln!(table, "| {language} | {build} | {cells} |").expect("write to a String");
    }
    let path = paths::workspace().join("docs/names.md");
    if std::env::var_os("SOCKLEAK_WRITE_NAMES").is_some() {
        fs::write(path, table).expect("write the table");
        return;
    }
    let documented = fs::read_to_string(path).expect("read the table");
    assert_eq!(
        table, documented,
        "set SOCKLEAK_WRITE_NAMES=1 if this is what it should be"
    );
}

fn the_site<'a>(report: &'a Report, rig: &Rig) -> &'a Site {
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{}: {sites:#?}", rig.entry.name);
    sites[0]
}

/// What its threads do, with no other rig alive: a report looks at the threads of a few processes.
fn holder(entry: &Entry) -> String {
    let rig = Rig::leaking(entry);
    wait::outlive_one_second();
    let pid = rig.pid().to_string();
    let report = sockleak::run(["snapshot", "--json", "--min-age", "1s", "--pid", &pid]).report();
    cell(entry, the_site(&report, &rig), "holders")
}

fn cell(entry: &Entry, site: &Site, place: &str) -> String {
    let stacks = site.stacks.named(place);
    let own = stacks.iter().flatten().find(|frame| is_own(entry, frame));
    if let Some(frame) = own {
        return shown(frame);
    }
    let module = |frame: &&Frame| frame.module.as_deref() == Some(entry.name.as_str());
    if stacks
        .iter()
        .flatten()
        .find(module)
        .is_some_and(|frame| frame.function.is_none())
    {
        return "address only: no symbols".to_owned();
    }
    if stacks.iter().all(Vec::is_empty) {
        return "unknown: no such stack was taken".to_owned();
    }
    "unknown: frames of the language's runtime only".to_owned()
}

/// The rigs' functions have these words in their names and no library's does.
fn is_own(entry: &Entry, frame: &Frame) -> bool {
    let Some(function) = frame.function.as_deref() else {
        return false;
    };
    let own = [
        "handle_client_and_forget",
        "handleClientAndForget",
        "serve_connection",
        "serveConnection",
        "rig_next",
    ];
    let main = ["main", "main.main", "eof_ignored::main"].contains(&function);
    frame.module.as_deref() == Some(entry.name.as_str())
        && (main || own.iter().any(|name| function.contains(name)))
}

/// Which line is known, not its number: sources change.
fn shown(frame: &Frame) -> String {
    let name = frame.function.as_deref().unwrap_or_default();
    let Some((file, _)) = frame.file.as_deref().zip(frame.line) else {
        return format!("`{name}`");
    };
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("`{name}`, line of `{file}`")
}
