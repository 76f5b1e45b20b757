//! A bootable kernel of a release line, out of the Debian archive this machine installs from. Only
//! the image is taken: a guest on a serial line needs no modules.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::ebpf::debian::{self, PrivateApt};
use crate::trouble::Trouble;
use crate::{process, repo, say};

/// Where cloud kernels are: stable lines in their releases, newer ones in the backports.
const SUITES: &[&str] = &[
    "trixie-backports",
    "trixie",
    "bookworm",
    "bullseye",
    "unstable",
];
/// From 6.19 on the image is in a package of its own; `linux-image-…` then only depends on it.
const BINARY: &str = "linux-binary-";
const IMAGE: &str = "linux-image-";
const FLAVOUR: &str = "-cloud-amd64";

pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    pub version: (u32, u32),
    pub image: PathBuf,
}

/// The newest kernel of the line `major.minor`; from the cache when there is one.
pub fn fetch(line: &str) -> Result<Kernel> {
    let version = version(line).with_context(|| format!("{line} is no kernel line such as 6.1"))?;
    let kept = super::folder().join("kernels").join(line);
    if let Some(kernel) = cached(&kept, version)? {
        return Ok(kernel);
    }
    let Some(archive) = debian::archive()? else {
        return Err(nowhere(line, "apt's configuration names no Debian archive"));
    };
    for suite in SUITES {
        let apt = PrivateApt::new(&archive, suite)?;
        if let Err(error) = process::run(apt.get().args(["-qq", "update"])) {
            say::step(format_args!("{suite}: {error:#}"));
            continue;
        }
        let mut names = apt.command("apt-cache");
        // What is installed here is no offer of the suite.
        names.args(["-o", "Dir::State::status=/dev/null", "pkgnames", "linux-"]);
        let listed = process::read(&mut names)?;
        if let Some(package) = newest(&listed, version) {
            say::step(format_args!("fetching {package} from {suite}"));
            unpack(&apt, package, &kept)
                .with_context(|| format!("get a kernel image out of {package}"))?;
            return cached(&kept, version)?.context("find the image in the package");
        }
    }
    Err(nowhere(line, "no suite offers a cloud kernel of this line"))
}

fn nowhere(line: &str, likely: &str) -> anyhow::Error {
    Trouble::error(
        format!("there is no kernel {line} to boot"),
        likely,
        format!(
            "put an image into {} as vmlinuz-RELEASE, or leave this kernel out",
            repo::shown(&super::folder().join("kernels").join(line))
        ),
    )
}

fn cached(folder: &Path, version: (u32, u32)) -> Result<Option<Kernel>> {
    let Ok(listing) = fs::read_dir(folder) else {
        return Ok(None);
    };
    for entry in listing {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            return Ok(Some(Kernel {
                release: release.to_owned(),
                version,
                image: entry.path(),
            }));
        }
    }
    Ok(None)
}

/// The package with the highest version of the line. A binary package is taken before an image
/// package of the same version, which would be without the image.
fn newest(listed: &str, line: (u32, u32)) -> Option<&str> {
    let candidates = listed.lines().filter_map(|package| {
        let release = release(package)?;
        let is_binary = package.starts_with(BINARY);
        // `linux-binary-unsigned-…`, and metapackages, have no number here.
        (version(release)? == line).then(|| ((numbers(release), is_binary), package))
    });
    candidates.max().map(|(_, package)| package)
}

/// As `uname -r` will say it.
fn release(package: &str) -> Option<&str> {
    let release = package
        .strip_prefix(BINARY)
        .or_else(|| package.strip_prefix(IMAGE))?;
    release.ends_with(FLAVOUR).then_some(release)
}

/// `6.1.0-50-cloud` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

fn unpack(apt: &PrivateApt, package: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for old in debs(apt.dir())? {
        fs::remove_file(&old).with_context(|| format!("remove {}", old.display()))?;
    }
    process::run(apt.get().args(["-qq", "download", package]))?;
    let deb = debs(apt.dir())?.pop().context("find the package")?;
    let mut packed = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&deb)
        .stdout(Stdio::piped())
        .spawn()
        .context("start dpkg-deb")?;
    let stream = packed.stdout.take().context("read from dpkg-deb")?;
    // /boot/vmlinuz-RELEASE, and from 7.2 on /usr/lib/modules/RELEASE/vmlinuz. Under another name
    // until it is whole: what is called vmlinuz-RELEASE is taken for a kernel.
    let partial = to.join("partial");
    let file = File::create(&partial).with_context(|| format!("create {}", partial.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--to-stdout", "--wildcards", "*/vmlinuz*"]);
    process::run(tar.stdin(stream).stdout(file))?;
    let status = packed.wait().context("wait for dpkg-deb")?;
    if !status.success() {
        bail!("dpkg-deb ended with {status}");
    }
    let release = release(package).context("tell the release from the package's name")?;
    let image = to.join(format!("vmlinuz-{release}"));
    fs::rename(&partial, &image).with_context(|| format!("name {}", image.display()))?;
    fs::remove_file(&deb).with_context(|| format!("remove {}", deb.display()))
}

fn debs(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let paths = listing.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    Ok(paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "deb"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_the_line_and_the_package_with_the_image() {
        let listed = "linux-image-cloud-amd64\nlinux-image-7.1.13+deb13-cloud-amd64\n\
                      linux-binary-7.1.8+deb13-cloud-amd64\nlinux-binary-7.1.13+deb13-cloud-amd64\n\
                      linux-binary-unsigned-7.1.13+deb13-cloud-amd64\n\
                      linux-image-7.1.13+deb13-amd64\nlinux-image-6.1.0-50-cloud-amd64\n\
                      linux-image-6.1.0-47-cloud-amd64\nlinux-image-6.12.1-cloud-amd64-unsigned";
        assert_eq!(
            newest(listed, (7, 1)),
            Some("linux-binary-7.1.13+deb13-cloud-amd64")
        );
        assert_eq!(
            newest(listed, (6, 1)),
            Some("linux-image-6.1.0-50-cloud-amd64")
        );
        assert_eq!(newest(listed, (6, 12)), None);
    }
}
