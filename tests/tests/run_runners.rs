//! The blocks of docs/ci.md run as they stand, each on a project of its kind in `tests/runners`: with the leak that
//! the variable LEAK turns on, and without.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::paths;
use tests::skip::{require_program, require_root};
use tests::sockleak::{Finished, finish};

const LIMIT: Duration = Duration::from_mins(3);

/// One block of the document, and what becomes of it.
struct Runner {
    name: &'static str,
    /// Its heading in the document.
    heading: &'static str,
    /// Which of the blocks below it.
    block: usize,
    /// In `tests/runners`.
    project: &'static str,
    /// What it needs of the machine.
    needs: &'static [&'static str],
    /// With the leak.
    code: i32,
    /// What is said of the leak.
    words: &'static [&'static str],
}

const USUAL: Runner = Runner {
    name: "",
    heading: "",
    block: 0,
    project: "",
    needs: &[],
    code: 23,
    words: &["LEAK", "1 socket leaked"],
};

#[test]
fn cargo_test() {
    check(&Runner {
        name: "cargo_test",
        heading: "cargo test",
        project: "cargo",
        needs: &["cargo"],
        words: &["LEAK", "handle_client"],
        ..USUAL
    });
}

#[test]
fn go_test() {
    check(&Runner {
        name: "go_test",
        heading: "go test",
        project: "go",
        needs: &["go"],
        words: &["LEAK", "served.handleClient"],
        ..USUAL
    });
}

#[test]
fn go_test_exec() {
    check(&Runner {
        name: "go_test_exec",
        heading: "go test",
        block: 1,
        project: "go",
        needs: &["go"],
        code: 1,
        words: &["LEAK", "served.handleClient"],
    });
}

const PYTEST: &str = "/usr/lib/python3/dist-packages/pytest/__init__.py";

#[test]
fn pytest() {
    check(&Runner {
        name: "pytest",
        heading: "pytest",
        project: "pytest",
        needs: &[PYTEST],
        ..USUAL
    });
}

#[test]
fn pytest_xdist() {
    check(&Runner {
        name: "pytest_xdist",
        heading: "pytest",
        block: 1,
        project: "pytest",
        needs: &[PYTEST, "/usr/lib/python3/dist-packages/xdist/__init__.py"],
        ..USUAL
    });
}

#[test]
fn node_test() {
    check(&Runner {
        name: "node_test",
        heading: "node --test",
        project: "node",
        needs: &["node"],
        ..USUAL
    });
}

#[test]
fn junit() {
    check(&Runner {
        name: "junit",
        heading: "JUnit",
        project: "junit",
        needs: &["javac", "/usr/share/java/junit-platform-console.jar"],
        ..USUAL
    });
}

#[test]
fn ctest() {
    check(&Runner {
        name: "ctest",
        heading: "CTest",
        project: "ctest",
        needs: &["cmake", "gcc"],
        words: &["LEAK", "handle_client"],
        ..USUAL
    });
}

#[test]
fn a_server_that_a_script_drives() {
    check(&Runner {
        name: "a_server_that_a_script_drives",
        heading: "A server that a script drives",
        project: "shell",
        needs: &["cc", "bash"],
        words: &["LEAK", "handle_client", "3 sockets leaked"],
        ..USUAL
    });
}

fn check(runner: &Runner) {
    if !require_root(runner.name)
        || !runner
            .needs
            .iter()
            .all(|need| require_program(runner.name, need))
    {
        return;
    }
    let script = block(runner.heading, runner.block);
    let folder = tempfile::tempdir().expect("a folder");
    let project = paths::tests_dir().join("runners").join(runner.project);
    copy(&project, folder.path());
    let healthy = run(&script, folder.path(), false);
    assert_eq!(healthy.code(), 0, "{}\n{}", healthy.stdout, healthy.stderr);
    let leaking = run(&script, folder.path(), true);
    let said = format!("{}\n{}", leaking.stdout, leaking.stderr);
    assert_eq!(leaking.code(), runner.code, "{said}");
    for word in runner.words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

fn run(script: &str, folder: &Path, leaks: bool) -> Finished {
    let programs = folder.join("programs-of-the-test");
    std::fs::create_dir_all(&programs).expect("a folder for programs");
    let link = programs.join("sockleak");
    if !link.exists() {
        std::os::unix::fs::symlink(paths::sockleak(), &link).expect("a link");
    }
    // The system's own Python has the packages of the system.
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:/usr/bin:{path}", programs.display());
    let mut shell = Command::new("bash");
    shell
        .args(["-euc", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("GOCACHE", folder.join("go-cache"))
        .env("GOFLAGS", "-count=1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("LEAK")
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null());
    if leaks {
        shell.env("LEAK", "1");
    }
    finish(&mut shell, LIMIT)
}

/// The block with this number below the heading.
fn block(heading: &str, number: usize) -> String {
    let path = paths::workspace().join("docs/ci.md");
    let text = std::fs::read_to_string(path).expect("read docs/ci.md");
    let section = text
        .split("\n### ")
        .find_map(|section| section.strip_prefix(heading)?.strip_prefix('\n'))
        .unwrap_or_else(|| panic!("docs/ci.md has no heading {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut blocks = section.split("```sh\n").skip(1);
    let block = blocks
        .nth(number)
        .and_then(|block| block.split("```").next());
    let block = block.unwrap_or_else(|| panic!("{heading:?} has no block {number}"));
    block.to_owned()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir_all(&target).expect("a folder");
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}
