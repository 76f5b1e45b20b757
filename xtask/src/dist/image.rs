//! The image of contrib/container/Containerfile: built of the static program, without a daemon, and started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::VERSION;
use crate::{process, repo, test};

pub const NEED: test::Need = test::Need {
    program: "buildah",
    package: "buildah",
    why: "the container image",
};
const NAME: &str = "localhost/sockleak";

pub fn check(program: &Path, room: &Path) -> Result<()> {
    let beside = room.join("context");
    fs::create_dir_all(&beside).with_context(|| format!("create {}", beside.display()))?;
    fs::copy(program, beside.join("sockleak")).context("copy the program")?;
    let store = Store(room.to_owned());
    let file = repo::root().join("contrib/container/Containerfile");
    store.run(
        &["build", "--isolation", "chroot", "--tag", NAME, "--file"],
        &[&file, &beside],
    )?;
    let container = store.run(&["from", NAME], &[])?;
    let config = store.run(
        &[
            "inspect",
            "--format",
            "{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}",
        ],
        &[Path::new(&container)],
    )?;
    let (entry, command) = config.split_once("] [").context("what the image starts")?;
    ensure!(entry == "[/sockleak", "the image starts {config}");
    let inside = |words: &[&str]| {
        let run = [
            "run",
            "--isolation",
            "chroot",
            &container,
            "--",
            "/sockleak",
        ];
        process::read(store.command(&run)?.args(words))
    };
    // What it starts by itself is understood by what is in it.
    let mut words: Vec<&str> = command.trim_end_matches(']').split(' ').collect();
    words.push("--help");
    let help = inside(&words)?;
    ensure!(help.contains("--web.listen-address"), "{help}");
    let said = inside(&["--version"])?;
    ensure!(said == format!("sockleak {VERSION}"), "it says {said:?}");
    let mounted = store.run(&["mount", &container], &[])?;
    let mut find = test::root_command("find")?;
    let files = process::read(find.args([&mounted, "-type", "f", "-size", "+0"]))?;
    ensure!(
        files == format!("{mounted}/sockleak"),
        "in the image are {files}"
    );
    store.run(&["umount", &container], &[])?;
    Ok(())
}

/// Images and containers of this check, apart from those of the machine.
struct Store(PathBuf);

impl Store {
    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = test::root_command(NEED.program)?;
        command
            .arg("--root")
            .arg(self.0.join("storage"))
            .arg("--runroot")
            .arg(self.0.join("running"))
            .args(["--storage-driver", "vfs"])
            .args(words);
        Ok(command)
    }

    fn run(&self, words: &[&str], paths: &[&Path]) -> Result<String> {
        process::read(self.command(words)?.args(paths))
    }
}
