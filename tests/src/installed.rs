//! Language runtimes that this machine has.
use std::path::PathBuf;
use std::process::Command;

use crate::paths;

/// Virtual machines of the distribution, and any that `SOCKLEAK_TEST_JAVA` names beside.
pub fn java() -> Vec<PathBuf> {
    let beside = std::env::var("SOCKLEAK_TEST_JAVA").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .flatten();
    let mut homes: Vec<PathBuf> = installed
        .filter_map(|home| home.path().canonicalize().ok())
        .collect();
    homes.sort();
    homes.dedup();
    let beside = beside.split(':').map(PathBuf::from);
    let mut found: Vec<PathBuf> = homes
        .iter()
        .map(|home| home.join("bin/java"))
        .chain(beside)
        .collect();
    found.retain(|java| java.is_file());
    found
}

/// The classes of a rig, for every release from 11 on.
pub fn compiled(rig: &str) -> tempfile::TempDir {
    let classes = tempfile::tempdir().expect("a folder for classes");
    let compiled = Command::new("javac")
        .args(["--release", "11", "-d"])
        .arg(classes.path())
        .arg(paths::tests_dir().join("rigs/java").join(rig))
        .status();
    assert!(compiled.expect("run javac").success());
    classes
}

/// Releases of Node.js that `cargo xtask test` installs, and the distribution's.
pub fn nodes() -> Vec<PathBuf> {
    let versions = std::fs::read_dir(paths::workspace().join("target/node"));
    let mut found: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/node"))
        .chain(crate::skip::find_program("node"))
        .filter(|node| node.is_file())
        .collect();
    found.sort();
    found
}
