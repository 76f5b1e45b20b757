//! docs/names.md: what each language and kind of build gives in each place of a report. Written from
//! real programs under the real tracer when `SOCKLEAK_WRITE_NAMES` is set, compared otherwise.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use tests::compile;
use tests::flavour::{self, Flavour, Special};
use tests::report::{Frame, Report, Site};
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{paths, skip, sockleak, wait};

const PLACES: [&str; 3] = ["opened", "eof", "last_used"];
/// Until the runtime of a program that listens is known.
const KNOWN: Duration = Duration::from_secs(1);
/// How many run at once: a report looks at the threads of a few processes only.
const AT_ONCE: usize = 4;
const HEAD: &str = "# What is named\n\n\
    Each cell is the innermost frame of the program's own code in that stack, as a run of one rig gave it (`eof-ignored`: a \
    server that reads the end of the\nstream and does not close); the last one, of Node, is who listens to the connections, by the program's own objects. Written by the test `names_are_as_documented` with \
    `SOCKLEAK_WRITE_NAMES=1`; do not edit.\n\n\
    | language | build | opened | read the end | last used | thread of the holder | hears of what comes |\n\
    |---|---|---|---|---|---|---|\n";

const RELEASES: &str = "\n## Releases\n\n\
    The same of each release of a runtime that the machine had on which its row was written; rows of others stay as they are.\n\n\
    | language | release | opened | read the end | last used | thread of the holder | hears of what comes |\n\
    |---|---|---|---|---|---|---|\n";

#[test]
fn names_are_as_documented() {
    if !skip::require_root("names_are_as_documented") {
        return;
    }
    let path = paths::workspace().join("docs/names.md");
    let documented = fs::read_to_string(&path).unwrap_or_default();
    let mut table = HEAD.to_owned();
    for (_, row) in rows(flavour::all()) {
        table.push_str(&row);
    }
    table.push_str(RELEASES);
    let mut releases = documented_releases(&documented);
    releases.extend(rows(flavour::releases()));
    table.extend(releases.into_values());
    if std::env::var_os("SOCKLEAK_WRITE_NAMES").is_some() {
        fs::write(path, table).expect("write the table");
        return;
    }
    assert_eq!(
        table, documented,
        "set SOCKLEAK_WRITE_NAMES=1 if this is what it should be"
    );
}

/// Language, and the numbers of the release.
type Release = (String, Vec<u32>);

fn release(language: &str, build: &str) -> Release {
    let numbers = build.split('.').filter_map(|number| number.parse().ok());
    (language.to_owned(), numbers.collect())
}

fn documented_releases(documented: &str) -> BTreeMap<Release, String> {
    let (_, releases) = documented.split_once(RELEASES).unwrap_or_default();
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let key = release(cells.next()?, cells.next()?);
        Some((key, format!("{line}\n")))
    };
    releases.lines().filter_map(row).collect()
}

fn rows(flavours: Vec<Flavour>) -> Vec<(Release, String)> {
    for flavour in &flavours {
        compile::command(&flavour.entry);
    }
    let mut groups: Vec<Vec<(usize, Flavour)>> = Vec::new();
    for (number, flavour) in flavours.into_iter().enumerate() {
        let has_room = |group: &&mut Vec<(usize, Flavour)>| {
            group.len() < AT_ONCE && group.iter().all(|(_, other)| go_together(other, &flavour))
        };
        match groups.iter_mut().find(has_room) {
            Some(group) => group.push((number, flavour)),
            None => groups.push(vec![(number, flavour)]),
        }
    }
    let mut rows = Vec::new();
    for group in groups {
        let (numbers, some): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        rows.extend(numbers.into_iter().zip(rows_of(&some)));
    }
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Two of one interpreter would be one site, and one that takes long keeps the others waiting.
fn go_together(one: &Flavour, other: &Flavour) -> bool {
    let runtime = |flavour: &Flavour| compile::runtime(&flavour.entry).map(str::to_owned);
    let lists = |flavour: &Flavour| flavour.special == Special::JavaMap;
    let differ = runtime(one).is_none() || runtime(one) != runtime(other);
    differ && !lists(one) && !lists(other)
}

/// Of rigs that run at once.
fn rows_of(some: &[Flavour]) -> Vec<(Release, String)> {
    // Nothing is named before the list that is to name it was asked for.
    let lists = |flavour: &Flavour| flavour.special == Special::JavaMap;
    let seconds = if some.iter().any(lists) { 10 } else { 1 };
    let min_age = format!("{seconds}s");
    let root = tempfile::tempdir().expect("a root directory");
    let start = |flavour: &Flavour| flavour.started(root.path());
    let mut rigs: Vec<Rig> = some.iter().map(start).collect();
    let tracer = Running::watch(["--json", "--min-age", &min_age, "--duration", "180s"]);
    if some.iter().any(|flavour| flavour.entry.is_interpreted()) {
        // As a service is, they were there before: their runtimes are known by then.
        std::thread::sleep(KNOWN);
    }
    for (flavour, rig) in some.iter().zip(&mut rigs) {
        flavour.drive(rig);
    }
    std::thread::sleep(Duration::from_millis(1000 * seconds + 200));
    let report = tracer.stop().report();
    let row = |(flavour, rig): (&Flavour, &Rig)| {
        let site = the_site(&report, rig);
        let [opened, eof, used] = PLACES.map(|place| cell(&rig.entry.name, site, place));
        let holder = holder(rig);
        let Flavour {
            language, build, ..
        } = flavour;
        let hears = listener(site);
        let cells = [*language, build, &opened, &eof, &used, &holder, &hears].join(" | ");
        (release(language, build), format!("| {cells} |\n"))
    };
    some.iter().zip(&rigs).map(row).collect()
}

/// Its function and line come from the file apart; one of another build at the same place is refused.
#[test]
fn debug_information_apart_is_used_only_for_its_own_build() {
    let name = "debug_information_apart_is_used_only_for_its_own_build";
    if !skip::require_root(name) {
        return;
    }
    let flavour = flavour::separate_debug();
    let mut other = flavour.entry.clone();
    other.name = "c-eof-other".to_owned();
    other.build_args = vec!["-DREAD_INLINE".to_owned()];
    let (own, others) = [&flavour.entry, &other].map(flavour::debug_part).into();
    for (debug, is_used) in [(own, true), (others, false)] {
        let root = tempfile::tempdir().expect("a root directory");
        flavour::furnish(root.path(), &flavour.entry, &debug);
        let tracer = Running::watch(["--json", "--min-age", "1s", "--duration", "60s"]);
        let chroot = ["chroot", root.path().to_str().expect("a plain path")];
        let how = Start {
            prefix: &chroot,
            ..Start::default()
        };
        let mut rig = Rig::start(&flavour.entry, &how);
        rig.drive();
        wait::outlive_one_second();
        let report = tracer.stop().report();
        let eof = the_site(&report, &rig).stacks.eof.clone().expect("a stack");
        let handler = eof
            .iter()
            .find(|frame| frame.name() == "handle_client_and_forget");
        let has_line = |frame: &Frame| {
            let file = frame.file.as_deref().unwrap_or_default();
            frame.line.is_some() && file.ends_with("eof_ignored.c")
        };
        assert_eq!(handler.is_some_and(has_line), is_used, "{eof:#?}");
        if !is_used {
            assert!(eof.iter().all(|frame| frame.function.is_none()), "{eof:#?}");
        }
    }
}

/// Java compiles the code of a first call anew for later ones, and lists only what it still has: the first
/// connection may stand by itself.
fn the_site<'a>(report: &'a Report, rig: &Rig) -> &'a Site {
    let sites = report.on_port(rig.port);
    let most = if rig.entry.language == "java" { 2 } else { 1 };
    let largest = sites.iter().max_by_key(|site| site.count);
    match largest {
        Some(site) if sites.len() <= most => site,
        _ => panic!("{}: {sites:#?}", rig.entry.name),
    }
}

/// What its threads do now.
fn holder(rig: &Rig) -> String {
    let pid = rig.pid().to_string();
    let report = sockleak::run(["snapshot", "--json", "--min-age", "1s", "--pid", &pid]).report();
    cell(&rig.entry.name, the_site(&report, rig), "holders")
}

/// Of a program for Node.js: its functions are on no stack.
fn listener(site: &Site) -> String {
    let Some(listeners) = &site.listeners else {
        return "-".to_owned();
    };
    let blame = site.blame.as_ref().filter(|_| listeners.blamed.is_some());
    let Some(blame) = blame else {
        return "unknown".to_owned();
    };
    let file = blame.file.as_deref().unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or(file);
    let line = blame.line.map(|_| format!(", line of `{file}`"));
    format!("`{}`{}", blame.function, line.unwrap_or_default())
}

fn cell(rig: &str, site: &Site, place: &str) -> String {
    let stacks = site.stacks.named(place);
    let frames: Vec<&Frame> = stacks.iter().flatten().collect();
    if let Some(frame) = frames.iter().find(|frame| is_own(rig, frame)) {
        return shown(frame);
    }
    let of = |module: &str| {
        let of = frames
            .iter()
            .filter(|frame| frame.module.as_deref() == Some(module));
        of.map(|frame| frame.function.is_some()).collect::<Vec<_>>()
    };
    if of(rig).first() == Some(&false) {
        return "address only: no symbols".to_owned();
    }
    let because = if frames.is_empty() {
        "no such stack was taken"
    } else if of("[jit]").contains(&false) {
        "the runtime does not list the code it makes"
    } else if !of("[interpreter]").is_empty() {
        "the code is interpreted"
    } else {
        "only the runtime's own frames are on the stack"
    };
    format!("unknown, because {because}")
}

/// The rigs' functions have these words in their names and no library's does.
fn is_own(rig: &str, frame: &Frame) -> bool {
    let Some(function) = frame.function.as_deref() else {
        return false;
    };
    let own = [
        "handle_client_and_forget",
        "handleClientAndForget",
        "serve_connection",
        "serveConnection",
        "EofIgnored",
        "rig_next",
        "rig_wait",
    ];
    let main = ["main", "main.main", "eof_ignored::main"].contains(&function);
    let module = frame.module.as_deref().unwrap_or_default();
    let is_its = module == rig
        || ["[jit]", "[python]", "[java]", "[node]", "[ruby]", "[php]"].contains(&module)
        || module == format!("{rig}.plugin.so");
    is_its && (main || own.iter().any(|name| function.contains(name)))
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
