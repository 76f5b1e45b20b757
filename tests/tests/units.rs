//! The units that a package installs: what systemd itself says of them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use tests::{paths, skip};

const UNITS: [&str; 2] = ["sockleak.service", "sockleak.socket"];
const PROGRAM: &str = "/usr/bin/sockleak";
/// In tenths, as `systemd-analyze security` takes it.
const EXPOSURE: &str = "--threshold=40";

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_exposed() {
    let name = "systemd_finds_nothing_wrong_with_the_units_and_little_exposed";
    if !skip::require_program(name, "systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for unit in UNITS {
        let text = shipped(unit).replace(PROGRAM, &paths::sockleak().display().to_string());
        fs::write(folder.path().join(unit), text).expect("write the unit");
    }
    // The manual pages are installed with the program.
    let said = analyze(folder.path(), &["verify", "--man=no"], &UNITS);
    // It reads the units of other packages on the machine too.
    let of_others = |line: &&str| line.starts_with("/lib/") || line.starts_with("/usr/lib/");
    let ours: Vec<&str> = said.lines().filter(|line| !of_others(line)).collect();
    assert_eq!(ours, [""; 0], "systemd-analyze verify");
    let security = ["security", "--offline=true", "--no-pager", EXPOSURE];
    let said = analyze(folder.path(), &security, &UNITS[..1]);
    assert!(said.contains("Overall exposure level"), "{said}");
}

/// A package and its scripts rely on these.
#[test]
fn the_units_start_the_installed_program_as_the_service_manager_expects() {
    let service = shipped("sockleak.service");
    for line in [
        "ExecStart=/usr/bin/sockleak serve",
        "Type=notify",
        "WatchdogSec=60",
        "NoNewPrivileges=yes",
    ] {
        assert!(service.lines().any(|known| known == line), "no {line}");
    }
    // Perf events are in @debug: they are allowed by name, so the group must not be refused after that.
    assert!(!service.contains("SystemCallFilter=~"));
    let socket = shipped("sockleak.socket");
    assert!(socket.contains("ListenStream=127.0.0.1:10435"));
}

fn shipped(unit: &str) -> String {
    let path = paths::workspace().join("contrib/systemd").join(unit);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What it says when it succeeds.
fn analyze(folder: &Path, args: &[&str], units: &[&str]) -> String {
    let done = Command::new("systemd-analyze")
        .args(args)
        .args(units.iter().map(|unit| format!("./{unit}")))
        .current_dir(folder)
        .output()
        .expect("run systemd-analyze");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{args:?}: {said}");
    said.into_owned()
}
