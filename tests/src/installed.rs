//! Language runtimes that this machine has.
use std::path::PathBuf;

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
