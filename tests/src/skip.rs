//! The one way not to run a test: by name and reason, on the record. CI compares the record with
//! the committed list `tests/skips.txt`.
use std::fs::OpenOptions;
use std::io::Write;

/// Records that test `name` did not run here.
pub fn skip(name: &str, reason: &str) {
    eprintln!("skipped {name}: {reason}");
    let Some(path) = std::env::var_os("SOCKLEAK_SKIPS_FILE") else {
        return;
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    writeln!(file, "{name}: {reason}").expect("record the skip");
}

/// Whether test `name` may go on; without root it is skipped, on the record.
pub fn require_root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(name, "needs root to attach to the kernel");
    }
    root
}

/// Whether `program` can be run from PATH; when not, test `name` is skipped, on the record.
pub fn require_program(name: &str, program: &str) -> bool {
    let found = find_program(program).is_some();
    if !found {
        skip(name, &format!("needs {program}"));
    }
    found
}

/// Whether every program and file that `entry` needs is here; when not, test `name` is skipped, on
/// the record.
pub fn require_needs(name: &str, entry: &crate::manifest::Entry) -> bool {
    entry.needs.iter().all(|need| require_program(name, need))
}

/// Looks in PATH and in the folders of the system administrator's programs; the path of a file is
/// looked at as it is.
pub fn find_program(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
