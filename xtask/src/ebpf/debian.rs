//! One package out of a Debian archive without touching the machine: a private apt configuration
//! whose archive and keyring come from the machine's own. Names no mirror itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{process, repo, say};

/// Where new compiler releases land after stable; the first that has the version is taken.
const SUITES: &[&str] = &["trixie-backports", "testing", "unstable"];

/// An archive as the machine's own configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Archive {
    uri: String,
    signed_by: Option<String>,
}

/// Unpacks the library's sources of exactly `release` under `to`.
pub fn unpack_rust_src(release: &str, to: &Path) -> Result<()> {
    let Some(archive) = configured_archive(Path::new("/etc/apt"))? else {
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
struct PrivateApt {
    dir: PathBuf,
}

impl PrivateApt {
    fn new(archive: &Archive, suite: &str) -> Result<Self> {
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

    fn get(&self) -> Command {
        self.command("apt-get")
    }

    fn command(&self, program: &str) -> Command {
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

/// The first archive of `sources.list` and `sources.list.d` that is Debian's main one.
fn configured_archive(etc_apt: &Path) -> Result<Option<Archive>> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    }
    files.sort();
    for file in files {
        let parse: fn(&str) -> Vec<Archive> = match file.extension().and_then(|ext| ext.to_str()) {
            Some("list") => one_line_entries,
            Some("sources") => deb822_entries,
            _ => continue,
        };
        if !file.exists() {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        if let Some(found) = parse(&text).into_iter().find(is_debian) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Mirrors keep the archive's own folder name, whatever host they are.
fn is_debian(archive: &Archive) -> bool {
    archive.uri.trim_end_matches('/').ends_with("/debian")
}

/// `deb [signed-by=KEY arch=…] URI suite component…`
fn one_line_entries(text: &str) -> Vec<Archive> {
    let entry = |line: &str| {
        let mut rest = line.trim().strip_prefix("deb ")?.trim_start();
        let mut signed_by = None;
        if let Some((options, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            signed_by = options
                .split_whitespace()
                .find_map(|option| option.strip_prefix("signed-by="))
                .map(str::to_owned);
            rest = after.trim_start();
        }
        Some(Archive {
            uri: rest.split_whitespace().next()?.to_owned(),
            signed_by,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// Stanzas of `Key: value` lines; a folded value (an inline key) is left to apt's own keyring.
fn deb822_entries(text: &str) -> Vec<Archive> {
    let stanza = |stanza: &str| {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let enabled = field("Enabled").is_none_or(|value| value != "no");
        let binary = field("Types")?.split_whitespace().any(|kind| kind == "deb");
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        let signed_by = field("Signed-By").filter(|key| key.starts_with('/'));
        (enabled && binary).then_some(Archive { uri, signed_by })
    };
    text.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(uri: &str, key: Option<&str>) -> Archive {
        Archive {
            uri: uri.into(),
            signed_by: key.map(Into::into),
        }
    }

    #[test]
    fn one_line_format() {
        let text = "# deb http://old/debian x main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror/debian/ bookworm main\n\
                    deb-src http://mirror/debian bookworm main\n\
                    deb http://mirror/debian-security bookworm-security main\n";
        let entries = one_line_entries(text);
        assert_eq!(
            entries,
            [
                archive("http://mirror/debian/", Some("/k.gpg")),
                archive("http://mirror/debian-security", None)
            ]
        );
        assert_eq!(entries.iter().filter(|entry| is_debian(entry)).count(), 1);
    }

    #[test]
    fn deb822_format() {
        let text = "Types: deb\n# a note\nURIs: http://mirror/debian\nSuites: a b\n\
                    Signed-By: /k.gpg\n\nTypes: deb-src\nURIs: http://mirror/debian\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off/debian\n";
        assert_eq!(
            deb822_entries(text),
            [archive("http://mirror/debian", Some("/k.gpg"))]
        );
    }

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
