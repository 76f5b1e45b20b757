//! `cargo xtask dist`: what a user downloads. One static file for any x86-64 host, its manual pages and
//! completions, the same as a Debian package, and a sum of each; `--check` tries them where nothing is.

mod binary;
mod check;
mod image;
mod package;
mod pages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::trouble::Trouble;
use crate::{process, repo, say};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes. A tool that is copied to a burning host is copied over its slowest link.
const LARGEST: u64 = 8 << 20;

/// Build the one static file to ship, its checksum, manual pages, completions and a Debian package
#[derive(clap::Args)]
pub struct Args {
    /// And try them: the same bytes from another folder, alone in a chroot, as the image of
    /// contrib/container, and the package installed, upgraded and removed in a Debian root of its own
    #[arg(long)]
    check: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let checks = args.check.then(check::Checks::prepare).transpose()?;
    let out = repo::target().join("dist");
    // Nothing of an earlier version may be among the sums.
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;

    let epoch = commit_time(&repo::root())?;
    let built = binary::build(&repo::root(), &repo::target(), &epoch)?;
    let program = out.join(format!("sockleak-{VERSION}-x86_64-linux"));
    fs::copy(&built, &program).with_context(|| format!("copy {}", built.display()))?;
    let size = fs::metadata(&program)?.len();
    if size > LARGEST {
        return Err(Trouble::error(
            format!("the program has {size} bytes, more than {LARGEST}"),
            "a new dependency, or one with features that nobody uses",
            "see `cargo tree -e features`; measure with `cargo bloat`",
        ));
    }
    let pages = pages::write(&out)?;
    let package = package::build(&program, &pages, &out, VERSION, &epoch)?;
    let files = [program, package];
    let sums = sums(&files)?;
    fs::write(out.join("SHA256SUMS"), &sums).context("write SHA256SUMS")?;
    say::result(sums.trim_end());
    say::result(format_args!(
        "{size} bytes, static, in {}",
        repo::shown(&out)
    ));

    if let Some(checks) = checks {
        let [program, _] = &files;
        checks.run(program, &pages, &epoch)?;
    }
    Ok(())
}

/// In the format of `sha256sum --check`.
fn sums(files: &[PathBuf]) -> Result<String> {
    let line = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!("{}  {name}\n", sum(file)?))
    };
    files.iter().map(line).collect()
}

fn sum(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok(format!("{:x}", Sha256::digest(bytes)))
}

/// Seconds since 1970: the only time that two builds of one commit agree on.
fn commit_time(root: &Path) -> Result<String> {
    let mut git = Command::new("git");
    process::read(git.current_dir(root).args(["log", "-1", "--format=%ct"]))
}
