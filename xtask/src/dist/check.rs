//! Tries what is shipped where nothing else is: built again elsewhere, alone in a chroot, as the
//! container image, and as a package in a Debian root of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{VERSION, binary, image, package, sum};
use crate::{debian_root, process, repo, say, test};

const NEEDS: [test::Need; 3] = [
    debian_root::NEED,
    image::NEED,
    test::Need {
        program: "dpkg-deb",
        package: "dpkg",
        why: "the Debian package",
    },
];
/// What an upgrade goes to: Debian's order puts it after every release of this version.
const NEXT: &str = concat!(env!("CARGO_PKG_VERSION"), "+next");

/// What a check needs that building does not: asked for before minutes are spent on building.
pub struct Checks(Rooms);

impl Checks {
    /// With the clone that is built a second time, of the same commit as what is built here.
    pub fn prepare() -> Result<Self> {
        test::provide(&NEEDS)?;
        let rooms = Rooms::new()?;
        clone(&rooms.clone())?;
        Ok(Self(rooms))
    }

    pub fn run(self, program: &Path, pages: &Path, epoch: &str) -> Result<()> {
        all(&self.0, program, pages, epoch)
    }
}

fn all(rooms: &Rooms, program: &Path, pages: &Path, epoch: &str) -> Result<()> {
    alone(program, &rooms.0.join("alone"))?;
    say::result(
        "alone: it runs in a chroot that holds nothing but it, and traces with /proc and /sys",
    );
    image::check(program, &rooms.0.join("image"))?;
    say::result(
        "image: built of the Containerfile, with the program and nothing else in it, and started",
    );
    installed(program, pages, epoch, &rooms.0)?;
    say::result("package: installed, upgraded, removed and purged; no file is left");
    same_bytes(program, epoch, &rooms.clone())?;
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

    fn clone(&self) -> PathBuf {
        self.0.join("another folder")
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
    debian_root::make(&root, "minbase", &[])?;
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

/// A commit is what two people can build.
fn clone(to: &Path) -> Result<()> {
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
    process::run(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(repo::root())
            .arg(to),
    )
}

fn same_bytes(program: &Path, epoch: &str, clone: &Path) -> Result<()> {
    let again = binary::build(clone, &clone.join("target"), epoch)?;
    let (first, second) = (sum(program)?, sum(&again)?);
    ensure!(
        first == second,
        "two builds of one commit differ: {first} and {second}"
    );
    Ok(())
}
