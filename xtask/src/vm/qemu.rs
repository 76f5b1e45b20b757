//! One guest from power-on to power-off, with the console and the guest's results in files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::guest;
use super::image::INIT;
use super::kernel::Kernel;
use super::record::{self, END, Step};
use crate::process;
use crate::trouble::Trouble;

const QEMU: &str = "qemu-system-x86_64";
/// Without cmpxchg16b: QEMU 7.2 leaves other bits than its flags in EFLAGS, and an interrupt right
/// after it, in the kernel's allocator, then ends in a double fault.
const CPU: &str = "max,cx16=off";
/// What is run on a kernel.
pub struct Guest<'g> {
    pub image: &'g Path,
    /// For the kernel's command line: its first process, and that one's arguments.
    pub starts: String,
    pub mebibytes: u32,
    pub limit: Duration,
    /// Tells the files of its words apart.
    pub called: &'static str,
}

impl<'g> Guest<'g> {
    /// The scenario of `vm-guest`, by this program as process 1. It takes 20 to 40 s; a machine that does much else
    /// gets more.
    pub fn scenario(image: &'g Path) -> Self {
        Self {
            image,
            starts: format!("rdinit={INIT} {}=1 -- {}", guest::MARK, guest::COMMAND),
            mebibytes: 1024,
            limit: Duration::from_mins(4),
            called: "",
        }
    }
}

const CONSOLE_LINES: usize = 25;

pub fn check_installed() -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(Trouble::error(
            "guests are x86-64 machines that run this machine's own programs",
            "this machine is of another architecture",
            "run this command on an x86-64 machine",
        ));
    }
    let found = process::read(Command::new(QEMU).arg("--version"));
    found.map(|_| ()).map_err(|error| {
        Trouble::error(
            format!("{QEMU} cannot be run: {error:#}"),
            "QEMU is not installed",
            "install it; Debian's package is qemu-system-x86",
        )
    })
}

/// Runs the guest on `kernel` and returns what it told.
pub fn boot(kernel: &Kernel, guest: &Guest<'_>) -> Result<Vec<Step>> {
    let folder = super::folder().join("guests");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let file = |kind| folder.join(format!("{}{}.{kind}", kernel.release, guest.called));
    let (console, results) = (file("console"), file("results"));
    for file in [&console, &results] {
        fs::write(file, "").with_context(|| format!("clear {}", file.display()))?;
    }
    let ran = process::run_within(&mut command(kernel, guest, &console, &results), guest.limit);
    let steps = parse(&fs::read(&results).context("read the guest's results")?)?;
    if ran.is_err() || record::find(&steps, END).is_none() {
        let said = fs::read(&console).context("read the guest's console")?;
        let outcome = ran.map_or_else(|error| format!("{error:#}"), |()| "it stopped".to_owned());
        bail!(
            "the guest on {} did not come to the end of its scenario: {outcome}; steps: {}; its \
             console's last lines:\n{}",
            kernel.release,
            names(&steps),
            last_lines(&String::from_utf8_lossy(&said)),
        );
    }
    Ok(steps)
}

fn command(kernel: &Kernel, guest: &Guest<'_>, console: &Path, results: &Path) -> Command {
    let serial = |path: &Path| format!("file:{}", path.display());
    let mut qemu = Command::new(QEMU);
    // Not KVM, even where /dev/kvm exists: nested in some clouds it stops at ordinary instructions,
    // and a guest that only emulates runs the same everywhere.
    qemu.args(["-accel", "tcg", "-smp", "2", "-cpu", CPU])
        .args(["-m", &guest.mebibytes.to_string()])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-serial", &serial(console)])
        .args(["-serial", &serial(results), "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(guest.image)
        .args(["-append", &append(guest)])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    qemu
}

fn append(guest: &Guest<'_>) -> String {
    format!(
        "console=ttyS0 loglevel=4 panic=-1 mitigations=off {}",
        guest.starts
    )
}

fn parse(results: &[u8]) -> Result<Vec<Step>> {
    let text = String::from_utf8_lossy(results);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("read a guest's line: {line:.200}"))
        })
        .collect()
}

fn names(steps: &[Step]) -> String {
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    names.join(", ")
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(CONSOLE_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}
