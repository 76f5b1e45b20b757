//! The tool on kernels other than this one: boots guests through `cargo xtask vm`, which compares
//! what they report with what their kernel should allow. Two of them stand for all here: 5.10 lacks
//! most of what can be lacking, and 6.12 has what this machine's own kernel may refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::process::Command;
use std::time::Duration;
use tests::{paths, skip, sockleak};

const QEMU: &str = "qemu-system-x86_64";
const KERNELS: &[&str] = &["5.10", "6.12"];
/// Fetching both kernels, building the image, and two guests on a busy machine.
const LIMIT: Duration = Duration::from_mins(9);

#[test]
fn other_kernels_report_what_they_should() {
    let name = "other_kernels_report_what_they_should";
    if cfg!(not(target_arch = "x86_64")) {
        skip::skip(
            name,
            "guests are x86-64 machines with this machine's programs",
        );
        return;
    }
    if !skip::require_program(name, QEMU) {
        return;
    }
    let mut xtask = xtask();
    xtask.arg("vm");
    for kernel in KERNELS {
        xtask.args(["--kernel", kernel]);
    }
    // Built already; nothing here may wait for cargo's lock.
    xtask
        .env("SOCKLEAK_BIN", paths::sockleak())
        .env("SOCKLEAK_RIGS", env!("CARGO_BIN_EXE_rigs"));
    let finished = sockleak::finish(&mut xtask, LIMIT);
    assert!(
        finished.status.success(),
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    let passed = format!("kernels that passed: {}", KERNELS.len());
    assert!(finished.stdout.contains(&passed), "{}", finished.stdout);
}

/// `cargo xtask test` runs from where this is; a bare `cargo test` may have to build it.
fn xtask() -> Command {
    let built = paths::target().join("debug/xtask");
    if built.is_file() {
        return Command::new(built);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(paths::workspace()).arg("xtask");
    cargo
}
