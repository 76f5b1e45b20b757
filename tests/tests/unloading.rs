//! Classes that are unloaded right after the call whose socket they forgot: whatever lies where they were, nobody else
//! is named for it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::lines::Lines;
use tests::report::Report;
use tests::sockleak::Running;
use tests::{installed, skip, wait};

const CLASSES: usize = 60;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Default, Debug)]
struct Told {
    right: usize,
    nobody: usize,
}

#[test]
fn classes_that_were_unloaded_are_named_right_or_not_at_all() {
    let name = "classes_that_were_unloaded_are_named_right_or_not_at_all";
    if !skip::require_root(name) || !skip::require_program(name, "javac") {
        return;
    }
    let classes = installed::compiled("Unloaded.java");
    for java in installed::java() {
        for round in 1..=ROUNDS {
            let mut rig = Command::new(&java);
            rig.arg("-cp").arg(classes.path()).args(["Unloaded", "20"]);
            let told = weigh(&mut rig);
            eprintln!(
                "{}, round {round}: {} of {CLASSES} named right, {} nobody, 0 wrong",
                java.display(),
                told.right,
                told.nobody
            );
            assert!(told.right > 0, "{told:?}");
        }
    }
}

/// A wrong name fails.
fn weigh(rig: &mut Command) -> Told {
    let options = ["--json", "--min-age", "500ms", "--comm", "java"];
    let watch = Running::watch(options.into_iter().chain(["--sockets-per-site", "100"]));
    let mut child = rig
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the rig");
    let pid = child.id();
    let lines = Lines::of(child.stdout.take().expect("stdout"));
    let is_stuck = || lines.so_far().iter().any(|line| line == "stuck");
    wait::wait_for("leaked sockets", PATIENCE, is_stuck);
    wait::outlive_one_second();
    let report = watch.stop().report();
    let _ = child.kill();
    let _ = child.wait();
    let classes: HashMap<String, String> = lines.so_far().iter().filter_map(|l| pair(l)).collect();
    compare(&report, pid, &classes)
}

/// The client's port, and the number of the class that read from it.
fn pair(line: &str) -> Option<(String, String)> {
    let (number, port) = line.split_once(' ')?;
    Some((port.to_owned(), format!("{number:0>2}")))
}

fn compare(report: &Report, pid: u32, classes: &HashMap<String, String>) -> Told {
    let mut told = Told::default();
    let of_rig = |site: &&tests::report::Site| site.process.as_ref().is_some_and(|p| p.pid == pid);
    for site in report.sites.iter().filter(of_rig) {
        for socket in &site.sockets {
            let port = socket.remote.rsplit(':').next().unwrap_or_default();
            let Some(class) = classes.get(port) else {
                continue;
            };
            let Some(blame) = &site.blame else {
                told.nobody += 1;
                continue;
            };
            let owns = [
                format!("Reader{class}.read{class}"),
                format!("Reader{class}.run"),
            ];
            let is_right = owns
                .iter()
                .any(|own| blame.function.ends_with(own.as_str()));
            assert!(
                is_right,
                "{} instead of class {class}: {site:#?}",
                blame.function
            );
            told.right += 1;
        }
    }
    told
}
