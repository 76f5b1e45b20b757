//! `cargo xtask ebpf`: builds the kernel object the binary embeds, and proves with `--check` that
//! the committed one is what the committed sources give, byte for byte.

mod compile;
pub mod debian;
mod library;
mod lines;
mod linker;
mod rustc_script;
mod sources;
mod toolchain;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use self::compile::{Build, Object};
use self::sources::Manifest;
use self::toolchain::Toolchain;
use crate::trouble::Trouble;
use crate::{repo, say};

/// Build the kernel object and write it to tracer/ebpf
#[derive(clap::Args)]
pub struct Args {
    /// Rebuild from nothing and fail unless the committed object is exactly that
    #[arg(long)]
    check: bool,
    /// Leave the toolchain's own rust-src aside and use a private copy of the library's sources
    #[arg(long)]
    private_library: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let _lock = lock()?;
    let toolchain = Toolchain::find()?;
    let committed = Committed::place();
    let before = Manifest::read(&toolchain)?;
    if args.check {
        committed.expect_sources(&before)?;
    }
    let objects = Build {
        linker: linker::find_or_install(&toolchain)?,
        sysroot: library::sysroot_with_library(&toolchain, args.private_library)?,
        toolchain: &toolchain,
        from_nothing: args.check,
    }
    .objects()?;
    if before != Manifest::read(&toolchain)? {
        return Err(Trouble::error(
            "the kernel program's sources changed while it was being built",
            "an editor or another checkout command wrote to tracer-ebpf or tracer-common",
            "run the same command again",
        ));
    }
    if args.check {
        committed.expect_objects(&objects)
    } else {
        committed.write(&objects, &before)
    }
}

/// Two runs at once would build into the same directories; the second waits.
fn lock() -> Result<File> {
    fs::create_dir_all(repo::tools()).context("create the tools directory")?;
    let path = repo::tools().join("ebpf.lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        say::step("waiting for another `cargo xtask ebpf` to end");
        file.lock()
            .with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}

/// The committed files: the objects, their sha256, and the list of what they were made from.
struct Committed {
    dir: PathBuf,
    sha256: PathBuf,
    sources: PathBuf,
}

impl Committed {
    fn place() -> Self {
        let dir = repo::root().join("tracer/ebpf");
        Self {
            sha256: dir.join("sockleak.bpf.o.sha256"),
            sources: dir.join("sockleak.bpf.o.sources"),
            dir,
        }
    }

    fn write(&self, objects: &[Object], sources: &Manifest) -> Result<()> {
        for object in objects {
            let path = self.dir.join(object.name);
            let wrote = write_changed(&path, &object.bytes)?;
            say::result(format_args!(
                "{}: {} bytes, sha256 {}{}",
                repo::shown(&path),
                object.bytes.len(),
                hex(&object.bytes),
                if wrote { "" } else { " (unchanged)" },
            ));
        }
        write_changed(&self.sha256, sha256_lines(objects).as_bytes())?;
        write_changed(&self.sources, sources.text().as_bytes())?;
        Ok(())
    }

    fn expect_sources(&self, now: &Manifest) -> Result<()> {
        let recorded = read_committed(&self.sources)?;
        let recorded = String::from_utf8_lossy(&recorded);
        if recorded == now.text() {
            return Ok(());
        }
        Err(Trouble::error(
            format!(
                "{} does not describe these sources:\n    {}",
                repo::shown(&self.sources),
                now.differences(&recorded).join("\n    "),
            ),
            "the kernel program, the wire contract or a pinned tool changed after the object was \
             last built",
            "run `cargo xtask ebpf` and commit tracer/ebpf",
        ))
    }

    fn expect_objects(&self, rebuilt: &[Object]) -> Result<()> {
        for object in rebuilt {
            expect_object(&self.dir.join(object.name), &object.bytes)?;
        }
        let recorded = read_committed(&self.sha256)?;
        if recorded != sha256_lines(rebuilt).as_bytes() {
            return Err(Trouble::error(
                format!(
                    "{} does not name the objects beside it",
                    repo::shown(&self.sha256)
                ),
                "the objects were committed without their sha256, or a merge mixed two builds",
                "run `cargo xtask ebpf` and commit tracer/ebpf",
            ));
        }
        Ok(())
    }
}

fn expect_object(path: &Path, rebuilt: &[u8]) -> Result<()> {
    let committed = read_committed(path)?;
    if committed != rebuilt {
        let kept = repo::target()
            .join(compile::CHECK_DIR)
            .join("rebuilt.bpf.o");
        fs::write(&kept, rebuilt).with_context(|| format!("write {}", kept.display()))?;
        return Err(Trouble::error(
            format!(
                "{} is not what its sources give: {} bytes, sha256 {}, but the rebuild has {} \
                 bytes, sha256 {} (kept as {})",
                repo::shown(path),
                committed.len(),
                hex(&committed),
                rebuilt.len(),
                hex(rebuilt),
                repo::shown(&kept),
            ),
            "the object was edited or built by other means, or something outside the recorded \
             sources (Cargo.toml of the workspace, a patched toolchain) took part in the build",
            "run `cargo xtask ebpf` on a clean checkout and commit tracer/ebpf; if the rebuild \
             still differs from machine to machine, compare the two with `llvm-objdump -d`",
        ));
    }
    say::result(format_args!(
        "{}: rebuilt byte for byte, sha256 {}",
        repo::shown(path),
        hex(rebuilt),
    ));
    Ok(())
}

fn read_committed(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Trouble::error(
            format!("cannot read {}: {error}", repo::shown(path)),
            "the kernel object was never built in this checkout",
            "run `cargo xtask ebpf` and commit tracer/ebpf",
        )
    })
}

/// Writes only what differs: a new mtime alone would recompile the binary that embeds the object.
fn write_changed(path: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(false);
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

/// In the format `sha256sum -c` reads.
fn sha256_lines(objects: &[Object]) -> String {
    let line = |object: &Object| format!("{}  {}\n", hex(&object.bytes), object.name);
    objects.iter().map(line).collect()
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
