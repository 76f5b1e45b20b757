//! The program itself: static, stripped, and without a trace of where it was built.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{process, say};

/// glibc's own static library, so that nothing but rustup's default target is needed. Static and still
/// position independent: a program that runs as root keeps its randomised addresses.
const TARGET: &str = "x86_64-unknown-linux-gnu";

const FLAGS: &[&str] = &[
    "-Ctarget-feature=+crt-static",
    // One copy of functions that came out the same, and relocations as a bitmap: half a megabyte.
    "-Clink-arg=-Wl,--icf=all",
    "-Clink-arg=-Wl,-z,pack-relative-relocs",
    // The ends of strings that are others' beginnings, once.
    "-Clink-arg=-Wl,-O2",
    // Tables for unwinding then say nothing of what is pushed and popped: 0.3 MiB less, and profilers can walk its stacks.
    "-Cforce-frame-pointers=yes",
];

/// Builds the checkout at `root` into `target`.
pub fn build(root: &Path, target: &Path, epoch: &str) -> Result<PathBuf> {
    say::step("building the static program, optimised as a whole: this takes minutes");
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    );
    let mut flags = OsString::from(FLAGS.join("\u{1f}"));
    let mut c_flags = OsString::new();
    let mut remaps = vec![(root.to_owned(), "sockleak"), (cargo_home.clone(), "cargo")];
    // One folder a registry; its name would be there five hundred times.
    let registries = fs::read_dir(cargo_home.join("registry/src")).into_iter();
    let registries = registries.flatten().flatten().map(|entry| entry.path());
    remaps.extend(registries.map(|path| (path, "crates")));
    remaps.push((target.to_owned(), "target"));
    // The last that fits counts: what build scripts write is in the target folder, which may be anywhere.
    for (from, to) in &remaps {
        // The separator of this variable; a path may hold a space.
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to}"));
        let quoted = from.to_string_lossy().replace('\'', r"'\''");
        c_flags.push(format!(" '-ffile-prefix-map={quoted}={to}'"));
    }
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(root)
        .args([
            "build",
            "--locked",
            "--package",
            "tracer",
            "--profile",
            "dist",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CFLAGS", c_flags)
        .env("CC_SHELL_ESCAPED_FLAGS", "1")
        .env("SOURCE_DATE_EPOCH", epoch)
        // Of the cargo that runs us: they would name the toolchain of another folder.
        .env_remove("RUSTFLAGS");
    process::run(&mut cargo)?;
    Ok(target.join(TARGET).join("dist").join("sockleak"))
}
