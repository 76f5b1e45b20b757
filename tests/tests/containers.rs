//! The manifest and the image that are shipped: what Kubernetes' own schema says, and that they ask for the
//! capabilities that `doctor` lists and for nothing else.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};
use tests::{paths, skip, sockleak};

const DAEMON_SET: &str = "contrib/kubernetes/daemonset.yaml";
/// With them the processes that parse files and answer requests give up their rights.
const TO_GIVE_UP: [&str; 4] = ["SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"];
const VALIDATOR: &str = "kubernetes-validate==1.37.0";
/// The first that knows every field of the manifest, and the newest that the validator knows.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

#[test]
fn the_manifest_fits_the_schema_of_kubernetes() {
    let name = "the_manifest_fits_the_schema_of_kubernetes";
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("bin/kubernetes-validate");
    let environment = run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(folder.path()));
    let installed = environment.status.success()
        && run(Command::new(folder.path().join("bin/pip")).args(["--quiet", "install", VALIDATOR]))
            .status
            .success();
    if !installed {
        skip::skip(name, "needs python3-venv and a package of PyPI");
        return;
    }
    for version in VERSIONS {
        let done = run(Command::new(&program)
            .args(["--strict", "-k", version])
            .arg(paths::workspace().join(DAEMON_SET)));
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{version}: {said}");
        assert_eq!(said.matches(" passed ").count(), 2, "{said}");
    }
}

#[test]
fn containers_and_the_unit_have_the_capabilities_that_doctor_lists() {
    let said = sockleak::run(["doctor"]);
    let mut listed: BTreeSet<&str> = said
        .stdout
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("CAP_"))
        .collect();
    assert!(listed.contains("BPF"), "{}", said.stdout);
    listed.extend(TO_GIVE_UP);

    let manifest = shipped(DAEMON_SET);
    assert!(!manifest.contains("privileged: true"));
    let (_, added) = manifest.split_once("add:\n").expect("capabilities");
    let added: BTreeSet<&str> = added
        .lines()
        .map(str::trim)
        .take_while(|line| line.starts_with("- ") || line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    assert_eq!(added, listed, "{DAEMON_SET}");

    let image = shipped("contrib/container/Containerfile");
    let (_, added) = image.split_once("--cap-add=").expect("capabilities");
    let added = added.split_whitespace().next().expect("capabilities");
    assert_eq!(added.split(',').collect::<BTreeSet<_>>(), listed);

    let unit = shipped("contrib/systemd/sockleak.service");
    let bounding = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .expect("capabilities");
    let bounding: BTreeSet<&str> = bounding
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("CAP_"))
        .collect();
    // To ask a Java virtual machine of another user.
    listed.insert("KILL");
    assert_eq!(bounding, listed, "the systemd unit");
}

fn shipped(path: &str) -> String {
    fs::read_to_string(paths::workspace().join(path)).expect(path)
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()))
}
