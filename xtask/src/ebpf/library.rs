//! A sysroot that holds the sources of `core`, which is compiled for the BPF target. When the
//! toolchain lacks them, a sysroot of symlinks is made around a private copy: the user's toolchain
//! is written to only through rustup, and only where no other copy can be had.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::debian;
use super::toolchain::{RELEASE, Toolchain, library_in};
use crate::trouble::Trouble;
use crate::{process, repo, say};

pub struct Sysroot {
    pub path: PathBuf,
    /// The library's real place: what `path` shows may be a symlink to it.
    pub library: PathBuf,
}

pub fn sysroot_with_library(toolchain: &Toolchain, private: bool) -> Result<Sysroot> {
    if !private && let Some(library) = toolchain.own_library() {
        return Ok(Sysroot {
            path: toolchain.sysroot.clone(),
            library,
        });
    }
    match private_library() {
        Ok(library) => around(toolchain, library),
        Err(error) if private => Err(error),
        Err(error) => {
            say::step(format_args!("no private copy of rust-src: {error:#}"));
            install_component(toolchain, &error)
        }
    }
}

/// The copy under the tools directory, fetched when it is not there yet.
fn private_library() -> Result<PathBuf> {
    let dir = repo::tools().join("rust-src");
    let library = dir.join(format!("usr/src/rustc-{RELEASE}/library"));
    if !library.join("core/src/lib.rs").exists() {
        say::step(format_args!(
            "fetching the package rust-src {RELEASE} into {}",
            repo::shown(&dir)
        ));
        // Unpacked aside and renamed, so that half a library is never taken for a whole one.
        let partial = dir.with_extension("partial");
        for stale in [&partial, &dir] {
            if stale.exists() {
                fs::remove_dir_all(stale).with_context(|| format!("clear {}", stale.display()))?;
            }
        }
        debian::unpack_rust_src(RELEASE, &partial)?;
        fs::rename(&partial, &dir).with_context(|| format!("move to {}", dir.display()))?;
    }
    Ok(library)
}

fn install_component(toolchain: &Toolchain, debian: &anyhow::Error) -> Result<Sysroot> {
    say::step("rustup component add rust-src");
    // rustup calls a toolchain what its folder is called.
    let name = toolchain.sysroot.file_name().unwrap_or_default();
    let mut rustup = Command::new("rustup");
    rustup
        .args(["component", "add", "rust-src", "--toolchain"])
        .arg(name);
    let added = process::run_within(&mut rustup, Duration::from_secs(90));
    if let (Ok(()), Some(library)) = (&added, toolchain.own_library()) {
        return Ok(Sysroot {
            path: toolchain.sysroot.clone(),
            library,
        });
    }
    let rustup = added
        .err()
        .map_or("it installed nothing".to_owned(), |error| {
            format!("{error:#}")
        });
    Err(Trouble::error(
        format!(
            "the sources of Rust's core library ({RELEASE}) are not here\n    as a Debian package: \
             {debian:#}\n    through rustup: {rustup}",
        ),
        "neither a Debian mirror with this exact version nor rustup's server can be reached",
        format!(
            "run `rustup component add rust-src --toolchain {RELEASE}` where there is a network, \
             or put the library folder of Rust {RELEASE}'s source at {}",
            repo::shown(&repo::tools().join(format!("rust-src/usr/src/rustc-{RELEASE}/library"))),
        ),
    ))
}

/// The toolchain's sysroot in symlinks, with `library` where build-std looks for it.
fn around(toolchain: &Toolchain, library: PathBuf) -> Result<Sysroot> {
    let path = repo::tools().join("sysroot");
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("clear {}", path.display()))?;
    }
    mirror(&toolchain.sysroot, &path, &["lib"])?;
    mirror(
        &toolchain.sysroot.join("lib"),
        &path.join("lib"),
        &["rustlib"],
    )?;
    mirror(
        &toolchain.sysroot.join("lib/rustlib"),
        &path.join("lib/rustlib"),
        &["src"],
    )?;
    let place = library_in(&path);
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    symlink(&library, &place).with_context(|| format!("link {}", place.display()))?;
    Ok(Sysroot { path, library })
}

/// Links every entry of `from` into `to`, but for the names in `except`.
fn mirror(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let name = entry.file_name();
        if !except.iter().any(|skipped| name == *skipped) {
            let link = to.join(&name);
            symlink(entry.path(), &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}
