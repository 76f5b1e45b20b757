//! Manual pages and completions, written by the program's own definition of its command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{process, repo};

/// The folder with `man` and `completions`.
pub fn write(out: &Path) -> Result<PathBuf> {
    let pages = out.join("pages");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(repo::root())
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "tracer",
            "--example",
            "pages",
            "--",
        ])
        .arg(&pages);
    process::run(&mut cargo)?;
    Ok(pages)
}
