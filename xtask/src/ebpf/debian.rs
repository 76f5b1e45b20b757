//! One package out of a Debian archive without touching the machine: a private apt configuration
//! whose archive and keyring come from the machine's own. Names no mirror itself.

mod archive;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use self::archive::{Archive, configured_archive};
use crate::{process, repo, say};

/// Where new compiler releases land after stable; the first that has the version is taken.
const SUITES: &[&str] = &["trixie-backports", "testing", "unstable"];

/// The archive this machine installs from.
pub fn archive() -> Result<Option<Archive>> {
    configured_archive(Path::new("/etc/apt"))
}

/// Unpacks the library's sources of exactly `release` under `to`.
pub fn unpack_rust_src(release: &str, to: &Path) -> Result<()> {
    let Some(archive) = archive()? else {
        bail!("this machine's apt configuration names no Debian archive");
    };
    for suite in SUITES {
        let apt = PrivateApt::new(&archive, suite)?;
        if let Err(error) = process::run(apt.get().args(["-qq", "update"])) {
            say::step(format_args!("{suite}: {error:#}"));
            continue;
        }
        let Some(version) = apt.version_of(release)? else {
            continue;
        };
        return apt.unpack(&version, release, to);
    }
    bail!(
        "no rust-src of release {release} in {} of {}",
        SUITES.join(", "),
        archive.uri
    )
}

/// apt with its lists, cache and sources in a directory of ours. Signatures are still checked.
pub struct PrivateApt {
    dir: PathBuf,
}

impl PrivateApt {
    pub fn new(archive: &Archive, suite: &str) -> Result<Self> {
        let dir = repo::tools().join("apt").join(suite);
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("create {part}"))?;
        }
        let signed = archive.signed_by.as_deref();
        let option = signed
            .map(|key| format!("[signed-by={key}] "))
            .unwrap_or_default();
        let list = dir.join("sources.list");
        fs::write(&list, format!("deb {option}{} {suite} main\n", archive.uri))
            .with_context(|| format!("write {}", list.display()))?;
        Ok(Self { dir })
    }

    pub fn get(&self) -> Command {
        self.command("apt-get")
    }

    /// Where `get` downloads to.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        // The directory may lie in a home that apt's own user cannot enter.
        command.args([
            "-o",
            "APT::Sandbox::User=root",
            "-o",
            "Dir::Etc::sourceparts=-",
        ]);
        for (key, part) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            command
                .arg("-o")
                .arg(format!("{key}={}", self.dir.join(part).display()));
        }
        command
    }

    fn version_of(&self, release: &str) -> Result<Option<String>> {
        let offered = process::read(self.command("apt-cache").args(["madison", "rust-src"]))?;
        Ok(pick_version(&offered, release))
    }

    fn unpack(&self, version: &str, release: &str, to: &Path) -> Result<()> {
        process::run(
            self.get()
                .args(["-qq", "download", &format!("rust-src={version}")]),
        )?;
        let package = fs::read_dir(&self.dir)
            .context("list the downloaded packages")?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|ext| ext == "deb"))
            .context("find the downloaded package")?;
        fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
        let mut packed = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&package)
            .stdout(Stdio::piped())
            .spawn()
            .context("start dpkg-deb")?;
        let stream = packed.stdout.take().context("read from dpkg-deb")?;
        // Only the library: the package also carries the whole compiler.
        let mut tar = Command::new("tar");
        tar.arg("-x")
            .arg("-C")
            .arg(to)
            .arg(format!("./usr/src/rustc-{release}/library"));
        process::run(tar.stdin(stream))?;
        let status = packed.wait().context("wait for dpkg-deb")?;
        if !status.success() {
            bail!("dpkg-deb ended with {status}");
        }
        fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))
    }
}

/// From `apt-cache madison`: `rust-src | 1.95.0+dfsg1-2~bpo13+1 | …`.
fn pick_version(offered: &str, release: &str) -> Option<String> {
    offered
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| {
            version
                .strip_prefix(release)
                .is_some_and(|rest| rest.starts_with(['+', '-', '~']))
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_release_is_taken() {
        let offered = "rust-src | 1.95.01-1 | http://mirror testing/main\n\
                       rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror x/main\n";
        assert_eq!(
            pick_version(offered, "1.95.0").as_deref(),
            Some("1.95.0+dfsg1-2~bpo13+1")
        );
        assert_eq!(pick_version(offered, "1.95"), None);
    }
}
