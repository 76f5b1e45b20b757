//! The network tests of tokio, as published, of the version that this project itself is locked to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::folder;
use crate::{process, repo, say};

const CRATE: &str = "tokio";
const TESTS: &[&str] = &[
    "tcp_accept",
    "tcp_connect",
    "tcp_echo",
    "tcp_into_split",
    "tcp_peek",
    "tcp_shutdown",
    "tcp_split",
    "tcp_stream",
];

pub struct Suite {
    /// Crate and version.
    pub name: String,
    programs: Vec<PathBuf>,
}

impl Suite {
    pub fn build() -> Result<Self> {
        let (version, published) = find()?;
        let name = format!("{CRATE} {version}");
        say::step(format_args!("building the network tests of {name}"));
        let own = folder().join(CRATE);
        if own.exists() {
            fs::remove_dir_all(&own).with_context(|| format!("clear {}", own.display()))?;
        }
        copy(&published, &own)?;
        // Not a member of the workspace around it.
        let manifest = own.join("Cargo.toml");
        let mut text = fs::read_to_string(&manifest).context("read the crate's manifest")?;
        text.push_str("\n[workspace]\n");
        fs::write(&manifest, text).context("write the crate's manifest")?;
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&own)
            .args([
                "test",
                "--no-run",
                "--features=full",
                "--message-format=json",
                "--quiet",
            ])
            .env("CARGO_TARGET_DIR", folder().join("tokio-target"));
        for test in TESTS {
            cargo.args(["--test", test]);
        }
        let said = process::read(&mut cargo)?;
        let programs: Vec<PathBuf> = said.lines().filter_map(executable).collect();
        ensure!(
            programs.len() == TESTS.len(),
            "{} of {} test programs were built",
            programs.len(),
            TESTS.len()
        );
        Ok(Self { name, programs })
    }

    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    /// For `sh`: all programs, so many times.
    pub fn script(&self, passes: u64) -> String {
        let programs: Vec<String> = self
            .programs
            .iter()
            .map(|path| format!("'{}' --quiet || exit 1", path.display()))
            .collect();
        format!(
            "n=0; while [ $n -lt {passes} ]; do {}; n=$((n + 1)); done",
            programs.join("; ")
        )
    }

    /// By the kernel's count of connections that were opened (`net/ipv4/tcp_output.c:tcp_connect`).
    pub fn connections_of_a_pass(&self) -> Result<u64> {
        let before = opened()?;
        let status = Command::new("sh")
            .args(["-c", &self.script(1)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("run the tests once")?;
        ensure!(status.success(), "the tests of {} fail here", self.name);
        Ok(opened()?.saturating_sub(before))
    }
}

fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message.pointer("/profile/test")?.as_bool()?;
    let path = message.get("executable")?.as_str()?;
    is_test.then(|| PathBuf::from(path))
}

/// Version, and where cargo has unpacked it.
fn find() -> Result<(String, PathBuf)> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(repo::root())
        .args(["metadata", "--locked", "--format-version=1"]);
    let metadata: Value =
        serde_json::from_str(&process::read(&mut cargo)?).context("understand cargo metadata")?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let package = packages
        .into_iter()
        .flatten()
        .find(|package| package.get("name").and_then(Value::as_str) == Some(CRATE))
        .context("the project does not use tokio")?;
    let text = |key| package.get(key).and_then(Value::as_str);
    let manifest = text("manifest_path").context("no manifest of tokio")?;
    let folder = Path::new(manifest).parent().context("no folder of tokio")?;
    let version = text("version").context("no version of tokio")?;
    Ok((version.to_owned(), folder.to_owned()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.context("list the crate")?;
        let target = to.join(entry.file_name());
        if entry.file_type().context("look at the crate")?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", target.display()))?;
        }
    }
    Ok(())
}

fn opened() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/snmp").context("read /proc/net/snmp")?;
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = lines
        .next()
        .zip(lines.next())
        .context("no counters of TCP")?;
    let mut pairs = names.split(' ').zip(values.split(' '));
    let value = pairs.find_map(|(name, value)| (name == "ActiveOpens").then_some(value));
    value
        .and_then(|value| value.parse().ok())
        .context("no count of opened connections")
}
