//! A Debian of its own in a folder: this host's release, from this host's package sources.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::trouble::Trouble;
use crate::{process, test};

pub const NEED: test::Need = test::Need {
    program: "mmdebstrap",
    package: "mmdebstrap",
    why: "a Debian root of its own",
};

/// `variant` as mmdebstrap has them, and packages besides.
pub fn make(root: &Path, variant: &str, packages: &[&str]) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("stable");
    let mut bootstrap = test::root_command("mmdebstrap")?;
    bootstrap
        .arg("--quiet")
        .arg(format!("--variant={variant}"))
        .args(packages.iter().map(|name| format!("--include={name}")))
        .arg(codename)
        .arg(root)
        .args(
            [
                "/etc/apt/sources.list",
                "/etc/apt/sources.list.d/debian.sources",
            ]
            .iter()
            .filter(|list| Path::new(list).exists()),
        );
    process::run(&mut bootstrap).map_err(|error| {
        Trouble::error(
            format!("no Debian root: {error:#}"),
            "mmdebstrap is not installed, or this host's package sources are not Debian's",
            "apt-get install mmdebstrap, on Debian",
        )
    })
}
