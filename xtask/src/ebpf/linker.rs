//! bpf-linker at the pinned version, built once into the tools directory. It loads the LLVM that
//! the compiler itself came with, so it is only good together with the pinned toolchain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::toolchain::Toolchain;
use crate::trouble::Trouble;
use crate::{process, repo, say};

pub const VERSION: &str = "0.10.3";

pub fn find_or_install(toolchain: &Toolchain) -> Result<PathBuf> {
    let root = repo::tools().join("bpf-linker");
    let linker = root.join("bin/bpf-linker");
    if is_pinned(&linker, toolchain) {
        return Ok(linker);
    }
    say::step(format_args!(
        "building bpf-linker {VERSION} (once, about two minutes)"
    ));
    let mut install = Command::new(toolchain.cargo());
    install
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
            "--quiet",
        ])
        .args(["--no-default-features", "--features", "rust-llvm-22"])
        .arg("--root")
        .arg(&root)
        .arg("--target-dir")
        .arg(repo::tools().join("build"))
        .env("RUSTC", toolchain.rustc());
    process::run(&mut install).map_err(|error| {
        Trouble::error(
            format!("bpf-linker {VERSION} was not built: {error:#}"),
            "cargo could not reach its registry, or no C toolchain is installed",
            format!(
                "check the network, install a C compiler, and run the command again; a bpf-linker \
                 {VERSION} built elsewhere with feature rust-llvm-22 can be put at {}",
                repo::shown(&linker),
            ),
        )
    })?;
    if is_pinned(&linker, toolchain) {
        return Ok(linker);
    }
    Err(Trouble::error(
        format!("the bpf-linker just built does not answer to version {VERSION}"),
        "it cannot load the compiler's LLVM library",
        format!("run {} --version and see what it misses", linker.display()),
    ))
}

fn is_pinned(linker: &Path, toolchain: &Toolchain) -> bool {
    let mut ask = Command::new(linker);
    ask.arg("--version").env("LD_LIBRARY_PATH", toolchain.lib());
    process::read(&mut ask).is_ok_and(|said| said.split(' ').nth(1) == Some(VERSION))
}
