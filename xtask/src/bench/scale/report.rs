//! The section of the document, and the raw figures behind it.

use std::fmt::Write as _;

use super::run::{Figures, Watched, What};
use crate::bench::document::{Table, grouped};
use crate::bench::facts::Facts;
use crate::bench::stats::median;

const MIB: f64 = (1 << 20) as f64;

pub fn section(sockets: u32, repetitions: u32, facts: &Facts, figures: &Figures) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "## {} stuck sockets\n\n{}\n",
        grouped(sockets),
        facts.line()
    );
    let _ = writeln!(
        text,
        "Repeat with `cargo xtask bench scale` as root on a quiet machine. Server processes hold \
         the sockets in CLOSE_WAIT whose clients, on 100 addresses, have closed. Medians of \
         {repetitions} repetitions (least to greatest), the programs in random order in each; every \
         run was checked to have seen all sockets. They got stuck once, under a `watch` that is one \
         run. Resident is what the process has of its own and of its program file: the rings, which are the kernel's and \
         counted there, are mapped into it twice.\n"
    );
    text.push_str(&time(figures));
    text.push_str("\n### Memory\n\n");
    text.push_str(&memory(sockets, figures));
    let mut maps: Vec<_> = figures.found.kernel.maps.iter().collect();
    maps.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let maps: Vec<String> = maps
        .iter()
        .map(|(name, bytes)| format!("`{name}` {:.1} KiB", **bytes as f64 / 1024.0))
        .collect();
    let _ = writeln!(
        text,
        "\nWith these sockets at its start the kernel side has room for {}; its maps: {}.",
        grouped(figures.found.kernel.capacity),
        maps.join(", ")
    );
    text
}

fn time(figures: &Figures) -> String {
    let mut table = Table::new(&["what", "wall-clock time, ms", "goal", "outcome"]);
    let mut row = |what: String, seconds: &[f64], goal: Option<f64>| {
        let ms: Vec<f64> = seconds.iter().map(|it| it * 1e3).collect();
        let limit = goal.map_or_else(String::new, |goal| format!("≤ {goal:.0} ms"));
        table.row(&[
            what,
            spread(&ms, 0),
            limit,
            outcome(median(&ms), goal, "ms", 0),
        ]);
    };
    let code = |what: What| format!("`{}`", what.shown());
    row(code(What::Snapshot), &figures.snapshot, Some(260.0));
    row(code(What::Ss), &figures.ss, None);
    row(code(What::SsProcesses), &figures.ss_processes, None);
    row(
        format!(
            "{}: all sockets known, by its own account",
            code(What::Watch)
        ),
        &figures.found.bootstrap,
        Some(200.0),
    );
    row(
        format!("{}: the same without sockets", code(What::Watch)),
        &figures.empty.bootstrap,
        Some(60.0),
    );
    row(
        format!("{}: from its start until it says so", code(What::Watch)),
        &figures.found.ready,
        None,
    );
    table.text().to_owned()
}

fn memory(sockets: u32, figures: &Figures) -> String {
    let mut table = Table::new(&["what", "memory", "goal", "outcome"]);
    let few = figures.empty.kernel.bytes() as f64;
    table.row(&[
        format!(
            "kernel side, all maps, started without sockets (room for {})",
            grouped(figures.empty.kernel.capacity)
        ),
        mib(few),
        "≤ 16 MiB".to_owned(),
        outcome(Some(few / MIB), Some(16.0), "MiB", 1),
    ]);
    let kernel = &figures.found.kernel;
    table.row(&[
        format!(
            "kernel side, per socket it has room for, started with them (all maps, {})",
            mib(kernel.bytes() as f64)
        ),
        kernel
            .bytes_per_socket()
            .map_or_else(unknown, |bytes| format!("{bytes:.0} B")),
        String::new(),
        String::new(),
    ]);
    table.row(&[
        "of this the table itself; the rest is the same for any number of sockets".to_owned(),
        kernel
            .table_bytes_per_socket()
            .map_or_else(unknown, |bytes| format!("{bytes:.0} B")),
        String::new(),
        String::new(),
    ]);
    for (what, watched) in [
        ("stuck before it started", &figures.found),
        ("got stuck while it watched", &figures.live),
    ] {
        let each = growth(sockets, &figures.empty, watched);
        table.row(&[
            format!("user side, per socket that {what}"),
            each.map_or_else(unknown, |bytes| format!("{bytes:.0} B")),
            "≤ 300 B".to_owned(),
            outcome(each, Some(300.0), "B", 0),
        ]);
    }
    for (what, watched, goal) in [
        ("without sockets", &figures.empty, Some(20.0)),
        (
            "watching sockets that were stuck before",
            &figures.found,
            None,
        ),
        (
            "watching sockets that got stuck meanwhile",
            &figures.live,
            None,
        ),
    ] {
        let resident = median(&watched.resident);
        table.row(&[
            format!("resident, {what} (peak)"),
            format!(
                "{} ({})",
                resident.map_or_else(unknown, mib),
                median(&watched.peak).map_or_else(unknown, mib)
            ),
            goal.map_or_else(String::new, |goal| format!("≤ {goal:.0} MiB")),
            outcome(resident.map(|bytes| bytes / MIB), goal, "MiB", 1),
        ]);
    }
    table.text().to_owned()
}

fn growth(sockets: u32, empty: &Watched, watched: &Watched) -> Option<f64> {
    let grown = median(&watched.resident)? - median(&empty.resident)?;
    Some(grown / f64::from(sockets))
}

fn outcome(measured: Option<f64>, goal: Option<f64>, unit: &str, decimals: usize) -> String {
    match (measured, goal) {
        (Some(measured), Some(goal)) if measured <= goal => "**met**".to_owned(),
        (Some(measured), Some(goal)) => {
            format!("**missed** by {:.decimals$} {unit}", measured - goal)
        }
        (None, Some(_)) => "not measured".to_owned(),
        (_, None) => String::new(),
    }
}

fn spread(values: &[f64], decimals: usize) -> String {
    let least = values.iter().copied().reduce(f64::min);
    let greatest = values.iter().copied().reduce(f64::max);
    match (median(values), least, greatest) {
        (Some(median), Some(least), Some(greatest)) => {
            format!("{median:.decimals$} ({least:.decimals$} to {greatest:.decimals$})")
        }
        _ => unknown(),
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / MIB)
}

fn unknown() -> String {
    "not reported".to_owned()
}

/// Every measurement: seconds for times, bytes for memory.
pub fn raw(figures: &Figures) -> String {
    let mut csv = String::from("what,value\n");
    let watched = |it: &Watched| {
        [
            ("bootstrap", it.bootstrap.clone()),
            ("ready", it.ready.clone()),
            ("resident", it.resident.clone()),
            ("peak", it.peak.clone()),
        ]
    };
    let mut all: Vec<(String, Vec<f64>)> = vec![
        ("snapshot".to_owned(), figures.snapshot.clone()),
        ("ss".to_owned(), figures.ss.clone()),
        ("ss -p".to_owned(), figures.ss_processes.clone()),
    ];
    for (when, it) in [
        ("empty", &figures.empty),
        ("found", &figures.found),
        ("live", &figures.live),
    ] {
        for (what, values) in watched(it) {
            all.push((format!("watch {when} {what}"), values));
        }
    }
    for (what, values) in all {
        for value in values {
            let _ = writeln!(csv, "{what},{value}");
        }
    }
    csv
}
