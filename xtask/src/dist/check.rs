//! Tries what is shipped where nothing else is: built again elsewhere, alone in a chroot, and as a
//! package in a Debian root of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{VERSION, binary, package, sum};
use crate::trouble::Trouble;
use crate::{process, repo, say, test};

/// What an upgrade goes to: Debian's order puts it after every release of this version.
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "+next");

pub fn all(program: &Path, pages: &Path, epoch: &str) -> Result<()> {
    let rooms = Rooms::new()?;
    alone(program, &rooms.0.join("alone"))?;
    say::result(
        "alone: it runs in a chroot that holds nothing but it, and traces with /proc and /sys",
    );
    installed(program, pages, epoch, &rooms.0)?;
    say::result("package: installed, upgraded, removed and purged; no file is left");
    same_bytes(program, epoch, &rooms.0)?;
    say::result("reproducible: a clone in another folder gives the same bytes");
    Ok(())
}

/// Folders that go away with us, root's files in them too.
struct Rooms(PathBuf);

impl Rooms {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("sockleak-dist-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        if let Ok(mut rm) = test::root_command("rm") {
            let _ = rm.args(["-r", "--one-file-system"]).arg(&self.0).status();
        }
    }
}

fn alone(program: &Path, room: &Path) -> Result<()> {
    fs::create_dir_all(room)?;
    fs::copy(program, room.join("sockleak"))?;
    let said = process::read(
        test::root_command("chroot")?
            .arg(room)
            .args(["/sockleak", "--version"]),
    )?;
    ensure!(said == format!("sockleak {VERSION}"), "it says {said:?}");
    // What a container without files has.
    let script = "cd \"$1\" && mkdir proc sys && mount -t proc proc proc && mount --rbind /sys sys \
                  && exec chroot . /sockleak watch --duration 2s --json";
    let mut trace = test::root_command("unshare")?;
    trace
        .args(["--mount", "--fork", "sh", "-ec", script, "sh"])
        .arg(room);
    let report: serde_json::Value = serde_json::from_str(&process::read(&mut trace)?)
        .context("the report of the program alone")?;
    let hooks = report.get("hooks").and_then(serde_json::Value::as_array);
    let attached = hooks.is_some_and(|hooks| {
        let is_attached = |hook: &serde_json::Value| {
            hook.get("status")
                .is_some_and(|status| status == "attached")
        };
        hooks.iter().any(is_attached)
    });
    ensure!(attached, "alone in a chroot it attached nothing: {report}");
    Ok(())
}

fn installed(program: &Path, pages: &Path, epoch: &str, rooms: &Path) -> Result<()> {
    let root = rooms.join("debian");
    debian(&root)?;
    let before = files(&root)?;
    for version in [VERSION, NEXT] {
        let package = package::build(program, pages, rooms, version, epoch)?;
        let name = package.file_name().unwrap_or_default().to_owned();
        process::run(test::root_command("cp")?.arg(&package).arg(&root))?;
        inside(
            &root,
            &["dpkg", "--install", &format!("/{}", name.to_string_lossy())],
        )?;
        inside(&root, &["rm", &format!("/{}", name.to_string_lossy())])?;
        inside(&root, &["dpkg", "--verify", "sockleak"])?;
        let shown = inside(
            &root,
            &[
                "dpkg-query",
                "--show",
                "--showformat=${Version}",
                "sockleak",
            ],
        )?;
        ensure!(shown == version, "installed is {shown}, not {version}");
        inside(&root, &["sockleak", "--version"])?;
    }
    for action in ["--remove", "--purge"] {
        inside(&root, &["dpkg", action, "sockleak"])?;
    }
    let after = files(&root)?;
    let left: Vec<&String> = after.iter().filter(|file| !before.contains(file)).collect();
    ensure!(left.is_empty(), "the package leaves {left:?}");
    Ok(())
}

/// This host's release, from this host's package sources.
fn debian(root: &Path) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("stable");
    let mut bootstrap = test::root_command("mmdebstrap")?;
    bootstrap
        .args(["--quiet", "--variant=minbase", codename])
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
            format!("no Debian root to install in: {error:#}"),
            "mmdebstrap is not installed, or this host's package sources are not Debian's",
            "apt-get install mmdebstrap, on Debian",
        )
    })
}

fn inside(root: &Path, command: &[&str]) -> Result<String> {
    process::read(test::root_command("chroot")?.arg(root).args(command))
}

/// But what the package manager keeps about itself.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut find = test::root_command("find")?;
    find.current_dir(root)
        .args([".", "-not", "-path", "./var/lib/dpkg/*"]);
    find.args(["-not", "-path", "./var/log/*"]);
    Ok(process::read(&mut find)?
        .lines()
        .map(str::to_owned)
        .collect())
}

fn same_bytes(program: &Path, epoch: &str, rooms: &Path) -> Result<()> {
    let mut status = Command::new("git");
    let changed = process::read(
        status
            .current_dir(repo::root())
            .args(["status", "--porcelain"]),
    )?;
    ensure!(
        changed.is_empty(),
        "a clone has no uncommitted changes; commit these:\n{changed}"
    );
    let clone = rooms.join("another folder");
    process::run(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(repo::root())
            .arg(&clone),
    )?;
    let again = binary::build(&clone, &clone.join("target"), epoch)?;
    let (first, second) = (sum(program)?, sum(&again)?);
    ensure!(
        first == second,
        "two builds of one commit differ: {first} and {second}"
    );
    Ok(())
}
