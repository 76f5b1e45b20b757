//! The guest's whole file system, held in memory: the tool, the rigs with their clients, this
//! program as process 1, and the shared libraries all of them need.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::record::RIGS;
use crate::trouble::Trouble;
use crate::{process, repo, say};

pub const INIT: &str = "/xtask";
pub const SOCKLEAK: &str = "/bin/sockleak";
/// Builds and plays rigs (`tests/src/bin/rigs.rs`); it finds them under the next two.
pub const RIG_PLAYER: &str = "/bin/rigs";
pub const TESTS: &str = "/tests";
pub const TARGET: &str = "/target";

/// Programs of the system that a guest needs and the packages they come in.
const TOOLS: &[(&str, &str)] = &[("mount", "mount"), ("ip", "iproute2"), ("kill", "procps")];

/// Builds what is missing and writes the image; returns where it is.
pub fn build() -> Result<PathBuf> {
    let sockleak = built(
        "SOCKLEAK_BIN",
        &["--release", "--package", "tracer"],
        "release/sockleak",
    )?;
    let player = built(
        "SOCKLEAK_RIGS",
        &["--package", "tests", "--bin", "rigs"],
        "debug/rigs",
    )?;
    let mut archive = Archive::default();
    // Process 1 gets its stdout from this one before anything is mounted.
    archive.device("/dev/console", 5, 1);
    for folder in ["/proc", "/sys", "/tmp", TARGET] {
        archive.folder(folder);
    }
    let mut programs = vec![
        (
            env::current_exe().context("find this program")?,
            INIT.into(),
        ),
        (sockleak, SOCKLEAK.into()),
        (player.clone(), RIG_PLAYER.into()),
    ];
    for (tool, package) in TOOLS {
        programs.push((find(tool, package)?, format!("/bin/{tool}")));
    }
    for rig in RIGS {
        let path = rig_path(&player, rig)?;
        let inside = path
            .strip_prefix(repo::target())
            .with_context(|| format!("{} is not a built rig", path.display()))?;
        let inside = format!("{TARGET}/{}", inside.display());
        programs.push((path, inside));
    }
    let mut libraries = BTreeSet::new();
    for (from, to) in &programs {
        archive.file(to, &read(from)?);
        libraries.extend(needed_by(from)?);
    }
    for library in libraries {
        archive.file(&library, &read(Path::new(&library))?);
    }
    sources(&mut archive, &repo::root().join("tests/rigs"), "rigs")?;
    let path = super::folder().join("initramfs.cpio");
    fs::write(&path, archive.finish()).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// The program that `variable` names, or else the one cargo builds.
pub(super) fn built(variable: &str, arguments: &[&str], place: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    say::step(format_args!("building {place}"));
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(repo::root())
        .args(["build", "--quiet", "--locked"])
        .args(arguments);
    process::run(&mut cargo)?;
    Ok(repo::target().join(place))
}

/// Builds the rig if need be; its place is named after its sources, so a guest with the same
/// sources finds it there without a compiler.
pub(super) fn rig_path(player: &Path, rig: &str) -> Result<PathBuf> {
    let mut build = Command::new(player);
    build.args(["build", rig]).current_dir(repo::root());
    // The tests' own reading of these variables: the guest's must not leak in.
    build
        .env("CARGO_TARGET_DIR", repo::target())
        .env("SOCKLEAK_TESTS_DIR", repo::root().join("tests"));
    Ok(process::read(&mut build)?.into())
}

/// The files of `folder`, which the digest of every rig covers.
pub(super) fn sources(archive: &mut Archive, folder: &Path, inside: &str) -> Result<()> {
    let listing = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in listing {
        let path = entry
            .with_context(|| format!("list {}", folder.display()))?
            .path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let inside = format!("{inside}/{}", name.display());
        if path.is_dir() {
            sources(archive, &path, &inside)?;
        } else {
            archive.file(&format!("{TESTS}/{inside}"), &read(&path)?);
        }
    }
    Ok(())
}

/// The shared libraries of `program` and its loader, as `ldd` lists them: `name => path (address)`
/// or `path (address)`. A static program has none.
fn needed_by(program: &Path) -> Result<Vec<String>> {
    let listed = process::read(Command::new("ldd").arg(program).env("LC_ALL", "C"))?;
    Ok(libraries(&listed))
}

fn libraries(listed: &str) -> Vec<String> {
    let path = |line: &str| {
        let right = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = right.trim().split(' ').next()?;
        path.starts_with('/').then(|| path.to_owned())
    };
    listed.lines().filter_map(path).collect()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// In PATH, or where Debian keeps tools for root.
fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Trouble::error(
                format!("the guests need the program {program}"),
                "it is not installed here",
                format!("install it; Debian's package is {package}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader() {
        let listed = "\tlinux-vdso.so.1 (0x00007ff29d004000)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007ff29c81e000)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007ff29d006000)\n";
        assert_eq!(
            libraries(listed),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
