//! Language runtimes that this machine has, and their releases.
use std::path::{Path, PathBuf};
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

/// CPython that can be read: as pyenv installs it, and the distribution's.
pub fn pythons() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok());
    let installed = versions
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/python3"));
    let mut found: Vec<PathBuf> = installed
        .chain([PathBuf::from("/usr/bin/python3")])
        .filter(|python| python.exists() && is_readable(python))
        .collect();
    found.sort();
    found
}

fn is_readable(python: &Path) -> bool {
    let ask = "import sys; sys.exit(not (3, 8) <= sys.version_info < (3, 15))";
    let status = Command::new(python).args(["-c", ask]).status();
    status.is_ok_and(|status| status.success())
}

/// The distribution's Ruby, and any that are named beside.
pub fn rubies() -> Vec<PathBuf> {
    named_beside("SOCKLEAK_TEST_RUBY", "/usr/bin/ruby")
}

/// The distribution's PHP, and any that are named beside.
pub fn phps() -> Vec<PathBuf> {
    named_beside("SOCKLEAK_TEST_PHP", "/usr/bin/php")
}

fn named_beside(variable: &str, usual: impl Into<PathBuf>) -> Vec<PathBuf> {
    let beside = std::env::var(variable).unwrap_or_default();
    let beside = beside.split(':').map(PathBuf::from);
    let found = beside.chain([usual.into()]);
    found.filter(|program| program.is_file()).collect()
}

/// The Go toolchain of PATH, and any that are named beside.
pub fn gos() -> Vec<PathBuf> {
    let usual = crate::skip::find_program("go").unwrap_or_default();
    named_beside("SOCKLEAK_TEST_GO", usual)
}

/// The first numbers of its version, as many as tell releases of that language apart: `3.11`, `21`.
pub fn release(program: &Path, numbers: usize) -> Option<String> {
    let option = match program.file_name()?.to_str()? {
        "java" => "-version",
        "go" => "version",
        _ => "--version",
    };
    let said = Command::new(program).arg(option).output().ok()?;
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let version = version
        .into_iter()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let parts: Vec<&str> = version.split('.').take(numbers).collect();
    Some(parts.join("."))
}
