//! Functions of language runtimes at moments that have passed: by what touched a socket last, or read its end.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::lines::Lines;
use tests::report::{Report, Site};
use tests::sockleak::Running;
use tests::{installed, paths, skip, wait};

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the rig under a watch, which sees it from its first call on, and takes the report once it leaks.
fn watched(rig: &mut Command) -> Report {
    let program = Path::new(rig.get_program());
    let comm = program.file_name().and_then(|name| name.to_str());
    let comm = comm.expect("a program has a name").to_owned();
    let mut options = vec!["--json", "--min-age", "500ms"];
    // Node 24 calls its first thread by another name.
    if comm != "node" {
        options.extend(["--comm", &comm]);
    }
    let watch = Running::watch(options);
    let mut child = rig
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the rig");
    let pid = child.id();
    let lines = Lines::of(child.stdout.take().expect("stdout"));
    wait::wait_for("leaked sockets", PATIENCE, || lines.so_far().len() == 2);
    wait::outlive_one_second();
    let mut report = watch.stop().report();
    let is_of_rig = |site: &Site| site.process.as_ref().is_some_and(|of| of.pid == pid);
    report.sites.retain(is_of_rig);
    let _ = child.kill();
    let _ = child.wait();
    report
}

/// How many of the calls must have a name.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    All,
    /// Of each function: calls of code that was compiled just now may have none.
    Some,
}

/// Calls before the runtime was noticed have no names, and then nobody is blamed for them: on a busy machine that
/// takes longer than the rig. A wrong name is one in every attempt.
fn told(
    mut rig: impl FnMut() -> Command,
    expected: [(&str, u32, usize); 2],
    count: Count,
) -> Report {
    const ATTEMPTS: usize = 3;
    let expected = expected.map(|(name, line, count)| (name.to_owned(), line, count));
    for attempt in 1.. {
        let mut rig = rig();
        let report = watched(&mut rig);
        let blamed = blamed(&report);
        let is_named = |(name, line, _): &(String, u32, usize)| {
            blamed.iter().any(|(of, at, _)| of == name && at == line)
        };
        if blamed == expected || (count == Count::Some && expected.iter().all(is_named)) {
            return report;
        }
        for (name, line, _) in blamed.iter().filter(|(name, ..)| !name.is_empty()) {
            let right = expected
                .iter()
                .any(|(function, at, _)| function == name && at == line);
            assert!(right, "{rig:?}: {name}:{line}");
        }
        assert!(
            attempt < ATTEMPTS,
            "{rig:?}: {blamed:?}: {:#?}",
            report.sites
        );
    }
    unreachable!("the last attempt has returned or failed")
}

fn blamed(report: &Report) -> Vec<(String, u32, usize)> {
    let of = |site: &Site| {
        let blame = site.blame.as_ref();
        let function = blame.map(|blame| blame.function.clone());
        let line = blame.and_then(|blame| blame.line);
        (
            function.unwrap_or_default(),
            line.unwrap_or_default(),
            site.count,
        )
    };
    let mut blamed: Vec<_> = report.sites.iter().map(of).collect();
    blamed.sort();
    blamed
}

#[test]
fn two_python_functions_with_one_call_each_are_two_findings() {
    let name = "two_python_functions_with_one_call_each_are_two_findings";
    if !skip::require_root(name) {
        return;
    }
    let pythons = installed::pythons();
    assert!(!pythons.is_empty(), "no python3 at all");
    for python in pythons {
        let rig = || {
            let mut rig = Command::new(&python);
            rig.arg(paths::tests_dir().join("rigs/python/one_call_each.py"));
            rig.arg("5");
            rig
        };
        let report = told(
            rig,
            [("read_orders", 18, 5), ("read_stock", 22, 5)],
            Count::All,
        );
        for site in &report.sites {
            let read = site.stacks.named("eof");
            let names: Vec<String> = read[0].iter().map(tests::report::Frame::name).collect();
            assert!(names[0].contains("recv"), "{names:?}");
            assert_eq!(names[names.len() - 2..], ["serve", "<module>"], "{names:?}");
            assert!(
                !names.iter().any(|name| name.contains("PyEval")),
                "{names:?}"
            );
        }
    }
}

#[test]
fn two_ruby_methods_with_one_call_each_are_two_findings() {
    let name = "two_ruby_methods_with_one_call_each_are_two_findings";
    if !skip::require_root(name) {
        return;
    }
    let rubies = installed::rubies();
    assert!(!rubies.is_empty(), "no ruby at all");
    for ruby in rubies {
        let rig = || {
            let mut rig = Command::new(&ruby);
            rig.arg(paths::tests_dir().join("rigs/ruby/one_call_each.rb"));
            rig.arg("5");
            rig
        };
        let report = told(
            rig,
            [("read_orders", 11, 5), ("read_stock", 17, 5)],
            Count::All,
        );
        for site in &report.sites {
            let read = site.stacks.named("eof");
            let names: Vec<String> = read[0].iter().map(tests::report::Frame::name).collect();
            // Since 3.3 `Integer#times` is written in Ruby.
            let names: Vec<&String> = names.iter().filter(|name| *name != "times").collect();
            assert!(names.iter().any(|name| name.contains("read")), "{names:?}");
            let outermost = &names[names.len() - 3..];
            assert_eq!(
                outermost,
                ["block in serve", "serve", "<main>"],
                "{names:?}"
            );
        }
    }
}

#[test]
fn two_php_functions_with_one_call_each_are_two_findings() {
    let name = "two_php_functions_with_one_call_each_are_two_findings";
    if !skip::require_root(name) {
        return;
    }
    let phps = installed::phps();
    assert!(!phps.is_empty(), "no php at all");
    for php in phps {
        let rig = || {
            let mut rig = Command::new(&php);
            rig.arg(paths::tests_dir().join("rigs/php/one_call_each.php"));
            rig.arg("5");
            rig
        };
        let report = told(
            rig,
            [("read_orders", 12, 5), ("read_stock", 17, 5)],
            Count::All,
        );
        for site in &report.sites {
            let read = site.stacks.named("eof");
            let names: Vec<String> = read[0].iter().map(tests::report::Frame::name).collect();
            assert!(names[0].contains("recv"), "{names:?}");
            let [.., reader, server, outside] = &names[..] else {
                panic!("{names:?}");
            };
            assert!(reader.starts_with("read_"), "{names:?}");
            assert_eq!([server, outside], ["serve", "{main}"], "{names:?}");
        }
    }
}

#[test]
fn two_functions_of_javascript_with_one_call_each_are_two_findings() {
    let name = "two_functions_of_javascript_with_one_call_each_are_two_findings";
    if !skip::require_root(name) || !skip::require_program(name, "node") {
        return;
    }
    let nodes = installed::nodes();
    let ways = nodes
        .iter()
        .flat_map(|node| [(node, "in-turn"), (node, "at-once")]);
    for (node, way) in ways {
        println!("{} {way}", node.display());
        let rig = || {
            let mut rig = Command::new(node);
            rig.arg(paths::tests_dir().join("rigs/node/one_call_each.js"));
            rig.args(["10", way]);
            rig
        };
        let report = told(rig, [("askOrders", 14, 5), ("askStock", 18, 5)], Count::All);
        for site in &report.sites {
            let used = site.stacks.named("last_used");
            let names: Vec<String> = used[0].iter().map(tests::report::Frame::name).collect();
            assert!(names[0].contains("write"), "{names:?}");
            let asked = names.iter().position(|name| name.starts_with("ask"));
            let [caller, outer, ..] = &names[asked.expect("one that asks") + 1..] else {
                panic!("{names:?}");
            };
            assert_eq!(caller, "ask", "{names:?}");
            assert_eq!(outer, "(anonymous)", "{names:?}");
        }
    }
}

/// Another function lies where one was that V8 has collected: who is named wrote, or nobody is named.
#[test]
fn collected_functions_of_javascript_are_named_right_or_not_at_all() {
    let name = "collected_functions_of_javascript_are_named_right_or_not_at_all";
    if !skip::require_root(name) || !skip::require_program(name, "node") {
        return;
    }
    for node in installed::nodes() {
        let mut rig = Command::new(&node);
        rig.arg("--expose-gc");
        rig.arg(paths::tests_dir().join("rigs/node/collected.js"));
        let report = watched(rig.arg("60"));
        let mut right = 0;
        for site in &report.sites {
            let Some(blame) = &site.blame else { continue };
            let function = blame.function.as_str();
            let Some(wrote) = function.strip_prefix("w_") else {
                panic!("{}: {function} does not write: {site:#?}", node.display());
            };
            let ports = site.sockets.iter().map(|socket| &socket.local);
            let ports: Vec<&str> = ports
                .filter_map(|at| Some(at.rsplit_once(':')?.1))
                .collect();
            assert_eq!(ports, [wrote], "{}", node.display());
            right += 1;
        }
        println!("{}: {right} of 60 named, none wrong", node.display());
        assert!(right > 0, "{}: {:#?}", node.display(), report.sites);
    }
}

#[test]
fn two_java_methods_with_one_call_each_are_two_findings() {
    let name = "two_java_methods_with_one_call_each_are_two_findings";
    if !skip::require_root(name) || !skip::require_program(name, "javac") {
        return;
    }
    let classes = installed::compiled("OneCallEach.java");
    let machines = installed::java();
    assert!(!machines.is_empty(), "no java beside javac");
    for java in machines {
        // Interpreted for the most part, and compiled from the first call on.
        let ways = [("-Xmixed", "10", Count::All), ("-Xcomp", "40", Count::Some)];
        for (option, rounds, count) in ways {
            let rig = || {
                let mut rig = Command::new(&java);
                rig.args([option, "-cp"]).arg(classes.path());
                rig.args(["OneCallEach", rounds]);
                rig
            };
            let expected = [
                ("OneCallEach.readOrders", 17, 5),
                ("OneCallEach.readStock", 21, 5),
            ];
            let report = told(rig, expected, count);
            for site in report.sites.iter().filter(|site| site.blame.is_some()) {
                let read = site.stacks.named("eof");
                let names: Vec<String> = read[0].iter().map(tests::report::Frame::name).collect();
                assert!(names[0] == "read" || names[0].contains("recv"), "{names:?}");
                let outermost = &names[names.len() - 2..];
                assert_eq!(
                    outermost,
                    ["OneCallEach.serve", "OneCallEach.main"],
                    "{names:?}"
                );
                assert!(
                    !names.iter().any(|name| name.contains("[jit]")),
                    "{names:?}"
                );
            }
        }
    }
}
