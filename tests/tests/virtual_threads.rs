//! Virtual threads of Java at moments that have passed: what called the library that waited lies on the heap then, and is
//! compared with what the program says itself.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::lines::Lines;
use tests::report::{Frame, Report, Site, Socket};
use tests::sockleak::Running;
use tests::{installed, skip, wait};

const PATIENCE: Duration = Duration::from_secs(90);
const RIG: &str = "VirtualThreads";
/// A method, and the line of the call in it that reads.
const READERS: [(&str, u32); 2] = [
    ("VirtualThreads.readOrders", 31),
    ("VirtualThreads.readStock", 40),
];
const ACCEPTOR: (&str, u32) = ("VirtualThreads.serve", 93);
const SOCKETS: usize = 10;
/// Calls before the machine was noticed, and through code that was compiled just now, have no names, which on a busy machine
/// takes longer than the rig. Each attempt takes twice as many rounds as the one before.
const ATTEMPTS: u32 = 3;

/// Machines that have virtual threads.
fn machines(name: &str) -> Vec<PathBuf> {
    if !skip::require_root(name) || !skip::require_program(name, "javac") {
        return Vec::new();
    }
    let mut found = installed::java();
    found.retain(|java| release(java).is_some_and(|release| release >= 21));
    if found.is_empty() {
        skip::skip(name, "needs Java 21 or later");
    }
    found
}

fn release(java: &Path) -> Option<u32> {
    let told = Command::new(java).arg("-version").output().ok()?;
    let told = String::from_utf8(told.stderr).ok()?;
    let version = told.split('"').nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

/// What the rig printed, and the findings about it.
fn watched(
    java: &Path,
    options: &[&str],
    (rig, rounds): (&str, u32),
    classes: &Path,
) -> (Vec<String>, Vec<Site>) {
    let own = ["--json", "--min-age", "500ms", "--comm", "java"];
    let watch = Running::watch(own.into_iter().chain(["--sockets-per-site", "400"]));
    let mut child = Command::new(java)
        .args(options)
        .arg("-cp")
        .arg(classes)
        .args([rig, &rounds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the rig");
    let lines = Lines::of(child.stdout.take().expect("stdout"));
    let is_stuck = || lines.so_far().iter().any(|line| line == "stuck");
    wait::wait_for("leaked sockets", PATIENCE, is_stuck);
    wait::outlive_one_second();
    let report: Report = watch.stop().report();
    let pid = child.id();
    let _ = child.kill();
    let _ = child.wait();
    let is_of_rig = |site: &Site| site.process.as_ref().is_some_and(|of| of.pid == pid);
    let sites = report.sites.into_iter().filter(is_of_rig).collect();
    (lines.so_far(), sites)
}

/// A method and its line, from the one that the rig says it of outwards.
type Place = (String, Option<u32>);

/// `orders Class.method LINE`, innermost first; a line below zero is none.
fn said(lines: &[String], of: &str) -> Vec<Place> {
    let words = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
    let own = words.filter(|words| words.len() == 3 && words[0] == of);
    own.map(|words| (without_address(words[1]), words[2].parse().ok()))
        .collect()
}

/// `A$$Lambda/0x7f00.run` and `A$$Lambda.run` are one.
fn without_address(method: &str) -> String {
    match method.split_once("/0x") {
        Some((class, rest)) => {
            let name = rest.split_once('.').map_or("", |(_, name)| name);
            format!("{class}.{name}")
        }
        None => method.to_owned(),
    }
}

fn told(frames: &[Frame], reader: &str) -> Vec<Place> {
    let place = |frame: &Frame| (without_address(&frame.name()), frame.line);
    let all = frames.iter().map(place);
    all.skip_while(|(method, _)| method != reader).collect()
}

fn reader(site: &Site) -> Option<(&str, Option<u32>)> {
    let blame = site.blame.as_ref()?;
    Some((&blame.function, blame.line))
}

/// Whoever is blamed has read from these sockets; or has accepted some that the program, as it says itself, began to read
/// half a second after they were closed.
fn assert_nobody_wrong(lines: &[String], sites: &[Site]) {
    let is_late = |socket: &Socket| {
        let port = socket.remote.rsplit(':').next().unwrap_or_default();
        lines.contains(&format!("unread {port}"))
    };
    let all_late = lines.iter().filter(|line| line.starts_with("unread "));
    let all_late = all_late.count();
    for site in sites {
        let Some((function, line)) = reader(site) else {
            continue;
        };
        let is = |(name, at): &(&str, u32)| *name == function && Some(*at) == line;
        let was_late = || {
            // Not all that have ended are listed.
            let are_late = site.sockets.iter().all(is_late) && site.count <= all_late;
            site.over.is_some() && site.verdict == "never-read" && is(&ACCEPTOR) && are_late
        };
        let right = READERS.iter().any(is) || was_late();
        assert!(right, "{function} {line:?}: {site:#?}, {lines:#?}");
    }
}

/// Both methods are told with all that called them.
fn is_told(lines: &[String], sites: &[Site]) -> bool {
    let mut found = 0;
    for ((name, _), of) in READERS.iter().zip(["orders", "stock"]) {
        let said = said(lines, of);
        assert_eq!(said[0].0, *name, "{lines:#?}");
        let own = sites
            .iter()
            .filter(|site| reader(site).is_some_and(|(of, _)| of == *name));
        for site in own {
            for frames in site.stacks.named("eof") {
                let told = told(&frames, name);
                // What called it, for it says that from another line.
                assert_eq!(told[1..], said[1..], "{site:#?}");
            }
            found += if site.over.is_some() { 0 } else { site.count };
        }
    }
    let last = sites.iter().filter(|site| site.over.is_none());
    found == SOCKETS && last.count() == READERS.len()
}

#[test]
fn two_methods_of_virtual_threads_are_two_findings_with_all_callers() {
    let machines = machines("two_methods_of_virtual_threads_are_two_findings_with_all_callers");
    if machines.is_empty() {
        return;
    }
    let classes = installed::compiled("VirtualThreads.java");
    // So that the program tells of itself what the machine leaves out otherwise.
    let hidden = ["-XX:+UnlockDiagnosticVMOptions", "-XX:+ShowHiddenFrames"];
    for java in machines {
        let ways: [(&[&str], u32); 6] = [
            (&[], 15),
            (&["-Xint"], 10),
            (&["-Xcomp"], 30),
            (&["-XX:+UseSerialGC", "-XX:-UseCompressedOops"], 15),
            (
                &["-XX:+UseParallelGC", "-XX:-UseCompressedClassPointers"],
                15,
            ),
            (&["-Dcollect=true", "-Xmx64m"], 15),
        ];
        for (own, rounds) in ways {
            let options = [&hidden[..], own].concat();
            for attempt in 1.. {
                let rig = (RIG, rounds << (attempt - 1));
                let (lines, sites) = watched(&java, &options, rig, classes.path());
                assert_nobody_wrong(&lines, &sites);
                if is_told(&lines, &sites) {
                    break;
                }
                assert!(attempt < ATTEMPTS, "{java:?} {own:?}: {sites:#?}");
            }
            println!("{} {own:?}: {SOCKETS} of {SOCKETS}", java.display());
        }
    }
}

#[test]
fn frames_that_a_collector_moves_at_any_time_are_not_told() {
    let name = "frames_that_a_collector_moves_at_any_time_are_not_told";
    let machines = machines(name);
    if machines.is_empty() {
        return;
    }
    let classes = installed::compiled("VirtualThreads.java");
    for java in machines {
        let options = ["-XX:+UseZGC", "-Xint"];
        let (lines, sites) = watched(&java, &options, (RIG, 10), classes.path());
        assert_nobody_wrong(&lines, &sites);
        let sites: Vec<Site> = sites
            .into_iter()
            .filter(|site| site.over.is_none())
            .collect();
        assert_eq!(sites.iter().map(|site| site.count).sum::<usize>(), SOCKETS);
        let unknown = sites.iter().filter(|site| site.blame.is_none());
        assert!(unknown.count() > 0, "{sites:#?}");
    }
}

/// What those that wait for a semaphore, and for a lock, are in.
const WAITING: [&str; 2] = ["VirtualWaits.takeOrder", "VirtualWaits.takeStock"];

/// Whether each finding is told whole; its virtual threads are in the calls that the program says they are in.
fn are_told_waiting(lines: &[String], sites: &[Site]) -> bool {
    let mut found = 0;
    for site in sites.iter().filter(|site| site.over.is_none()) {
        let function = site.blame.as_ref().map(|blame| blame.function.as_str());
        let right = function.is_some_and(|function| WAITING.contains(&function));
        let sure = site.confidence != "low";
        assert!(
            !sure || right && site.verdict == "owner-blocked",
            "{site:#?}"
        );
        if !sure {
            continue;
        }
        let threads = site.stacks.holders.iter().flatten();
        for thread in threads {
            let name = thread.name.as_deref().unwrap_or_default();
            let Some(number) = name.strip_prefix("virtual thread ") else {
                continue;
            };
            let own = function.unwrap_or_default();
            let told = told(thread.stack.as_deref().unwrap_or_default(), own);
            let said: Vec<Place> = (said(lines, number).into_iter())
                .skip_while(|(method, _)| method != own)
                .collect();
            // What the library has outside of a virtual thread it does not say.
            assert!(
                !said.is_empty() && told.starts_with(&said),
                "{told:#?} {said:#?}"
            );
        }
        found += site.count;
    }
    found == 2 * SOCKETS
}

#[test]
fn virtual_threads_that_wait_are_told_with_what_they_wait_in() {
    let machines = machines("virtual_threads_that_wait_are_told_with_what_they_wait_in");
    if machines.is_empty() {
        return;
    }
    let classes = installed::compiled("VirtualWaits.java");
    let hidden = ["-XX:+UnlockDiagnosticVMOptions", "-XX:+ShowHiddenFrames"];
    for java in machines {
        let compact = release(&java).is_some_and(|release| release >= 25);
        let mut ways: Vec<&[&str]> = vec![
            &[],
            &["-Xint"],
            &["-XX:+UseSerialGC", "-XX:-UseCompressedOops"],
            &["-XX:+UseParallelGC", "-XX:-UseCompressedClassPointers"],
            &["-Dcollect=true"],
        ];
        if compact {
            ways.push(&["-XX:+UseCompactObjectHeaders"]);
        }
        for own in ways {
            let options = [&hidden[..], own].concat();
            for attempt in 1.. {
                let rig = ("VirtualWaits", SOCKETS as u32);
                let (lines, sites) = watched(&java, &options, rig, classes.path());
                if are_told_waiting(&lines, &sites) {
                    break;
                }
                assert!(attempt < ATTEMPTS, "{java:?} {own:?}: {sites:#?}");
            }
            println!(
                "{} {own:?}: {} of {}",
                java.display(),
                2 * SOCKETS,
                2 * SOCKETS
            );
        }
    }
}
