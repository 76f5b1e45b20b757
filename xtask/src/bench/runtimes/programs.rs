//! The same loop in each language that is installed here.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::folder;
use crate::{process, repo, say};

pub struct Program {
    /// With its version.
    pub name: String,
    command: Vec<PathBuf>,
    /// What a read on a known connection, and the first on a new one, may take more: nanoseconds.
    pub goals: Option<(f64, f64)>,
}

impl Program {
    pub fn command(&self) -> Command {
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().map_or("false".into(), PathBuf::clone));
        command.args(words);
        command
    }
}

const GOALS: Option<(f64, f64)> = Some((600.0, 3_000.0));

pub fn installed() -> Result<Vec<Program>> {
    let own = std::env::current_exe().context("find this program")?;
    let mut found = vec![Program {
        name: "native (Rust)".to_owned(),
        command: vec![own, "bench".into(), "load-generator".into()],
        goals: None,
    }];
    let sources = repo::root().join("xtask/src/bench/runtimes");
    for (program, ask, source) in [
        ("python3", "--version", "reads.py"),
        ("ruby", "--version", "reads.rb"),
        ("php", "--version", "reads.php"),
        ("node", "--version", "reads.js"),
    ] {
        let Ok(version) = process::read(Command::new(program).arg(ask)) else {
            say::step(format_args!("{program} is not installed: not measured"));
            continue;
        };
        found.push(Program {
            name: name(program, &version),
            command: vec![program.into(), sources.join(source)],
            goals: GOALS,
        });
    }
    let classes = folder().join("classes");
    let mut javac = Command::new("javac");
    javac
        .args(["--release", "11", "-d"])
        .arg(&classes)
        .arg(sources.join("Reads.java"));
    if process::read(&mut javac).is_err() {
        say::step("javac is not installed: Java is not measured");
        return Ok(found);
    }
    let version = process::read(Command::new("java").arg("--version"))?;
    found.push(Program {
        name: version.lines().next().unwrap_or("Java").to_owned(),
        command: vec!["java".into(), "-cp".into(), classes, "Reads".into()],
        goals: GOALS,
    });
    Ok(found)
}

/// Python, Ruby and PHP say what they are, and Node.js only which version.
fn name(program: &str, version: &str) -> String {
    let first = version.split(" (").next().unwrap_or(version);
    if first.starts_with('v') {
        return format!("{program} {first}");
    }
    first.to_owned()
}
