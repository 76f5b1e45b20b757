//! The Debian package: a tree of files and `dpkg-deb`. The service is there and not enabled, since a
//! tracer that nobody asked for has no business on a host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{process, repo};

const UNITS: &[&str] = &["sockleak.service", "sockleak.socket"];
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

/// `sockleak_VERSION_amd64.deb` in `out`.
pub fn build(
    program: &Path,
    pages: &Path,
    out: &Path,
    version: &str,
    epoch: &str,
) -> Result<PathBuf> {
    let tree = out.join(format!("package-{version}"));
    let contrib = repo::root().join("contrib");
    put(program, &tree.join("usr/bin/sockleak"), 0o755)?;
    for (from, to) in [
        (
            "sockleak.bash",
            "usr/share/bash-completion/completions/sockleak",
        ),
        ("_sockleak", "usr/share/zsh/vendor-completions/_sockleak"),
        (
            "sockleak.fish",
            "usr/share/fish/vendor_completions.d/sockleak.fish",
        ),
    ] {
        put(&pages.join("completions").join(from), &tree.join(to), 0o644)?;
    }
    for unit in UNITS {
        let to = tree.join("usr/lib/systemd/system").join(unit);
        put(&contrib.join("systemd").join(unit), &to, 0o644)?;
    }
    manual(&pages.join("man"), &tree.join("usr/share/man/man1"))?;
    documents(&tree.join("usr/share/doc/sockleak"))?;

    let control = tree.join("DEBIAN");
    for script in SCRIPTS {
        put(
            &contrib.join("debian").join(script),
            &control.join(script),
            0o755,
        )?;
    }
    let kibibytes = fs::metadata(program)?.len().div_ceil(1024);
    let template = fs::read_to_string(contrib.join("debian/control")).context("read control")?;
    let text = template
        .replace("@VERSION@", version)
        .replace("@KIBIBYTES@", &kibibytes.to_string());
    write(&control.join("control"), text.as_bytes(), 0o644)?;
    open(&tree)?;

    let package = out.join(format!("sockleak_{version}_amd64.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&tree)
        .arg(&package)
        // Times in the archive are cut to it.
        .env("SOURCE_DATE_EPOCH", epoch)
        .stdout(std::process::Stdio::null());
    process::run(&mut dpkg)?;
    fs::remove_dir_all(&tree).with_context(|| format!("remove {}", tree.display()))?;
    Ok(package)
}

fn manual(from: &Path, to: &Path) -> Result<()> {
    for page in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let page = page?;
        let file = to.join(page.file_name());
        put(&page.path(), &file, 0o644)?;
        compress(&file)?;
    }
    Ok(())
}

fn documents(to: &Path) -> Result<()> {
    let root = repo::root();
    put(&root.join("README.md"), &to.join("README.md"), 0o644)?;
    put(&root.join("CHANGELOG.md"), &to.join("changelog"), 0o644)?;
    compress(&to.join("changelog"))?;
    let mut licences = String::from("sockleak may be used under either of these licences.\n");
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        let text = fs::read_to_string(root.join(name)).with_context(|| format!("read {name}"))?;
        licences.extend(["\n", name, "\n\n", &text]);
    }
    write(&to.join("copyright"), licences.as_bytes(), 0o644)
}

/// Without name and time, which would differ from build to build.
fn compress(file: &Path) -> Result<()> {
    process::run(Command::new("gzip").args(["-9n", "--force"]).arg(file))
}

/// The package brings these folders along, whatever this user's umask.
fn open(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("set the mode of {}", folder.display()))?;
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open(&entry.path())?;
        }
    }
    Ok(())
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    write(to, &bytes, mode)
}

/// Modes are set, not taken from this user's umask.
fn write(to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let dir = to.parent().unwrap_or(to);
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    fs::write(to, bytes).with_context(|| format!("write {}", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", to.display()))
}
