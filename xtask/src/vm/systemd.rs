//! `cargo xtask vm --systemd`: the service as it is shipped, enabled and started in a guest that systemd has booted,
//! finds a leak with the function's name, and is what systemd calls well confined.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::checks::Check;
use super::cpio::Archive;
use super::image;
use super::qemu::{self, Guest};
use super::record::{self, Step};
use super::report::Report;
use super::{guest, kernel};
use crate::{debian_root, process, repo, say, test};

pub const KERNEL: &str = "6.12";
pub const SERVICE: &str = "sockleak.service";
const RIG: &str = "c-eof-ignored-debug";
pub const RIG_PLACE: &str = "/opt/leaks";
pub const FUNCTION: &str = "handle_client_and_forget";
const XTASK: &str = "/opt/xtask";
/// Where a package puts them.
const PROGRAM: &str = "usr/bin/sockleak";
const UNITS: &str = "usr/lib/systemd/system";
/// A tenth of what `systemd-analyze security` says.
const MOST_EXPOSED: f64 = 4.0;

/// The guest's steps.
pub struct Words;

impl Words {
    pub const START: &'static str = "enable and start";
    pub const FIRST: &'static str = "watches reads";
    pub const REPORT: &'static str = "names the function";
    pub const RUNS: &'static str = "runs";
    pub const SECURITY: &'static str = "security";
    pub const VERIFY: &'static str = "verify";
    pub const STOP: &'static str = "stop";
    pub const STOPPED: &'static str = "stopped";
    pub const JOURNAL: &'static str = "journal";
}

const NEEDS: [test::Need; 2] = [
    debian_root::NEED,
    test::Need {
        program: "cpio",
        package: "cpio",
        why: "a Debian as a guest's first file system",
    },
];

pub fn run(line: &str) -> Result<()> {
    test::provide(&NEEDS)?;
    let image = image()?;
    let kernel = kernel::fetch(line)?;
    say::step(format_args!("booting {} with systemd", kernel.release));
    let guest = Guest {
        image: &image,
        starts: "rdinit=/usr/lib/systemd/systemd systemd.wants=sockleak-guest.service".to_owned(),
        mebibytes: 2048,
        limit: Duration::from_mins(15),
        called: "-systemd",
    };
    let steps = qemu::boot(&kernel, &guest)?;
    let checks = checks(&steps);
    for check in &checks {
        say::result(check);
    }
    let failed = checks.iter().filter(|check| check.outcome.is_err()).count();
    if failed > 0 {
        let journal = record::find(&steps, Words::JOURNAL);
        bail!(
            "{failed} not as expected; the service's journal:\n{}",
            journal.map_or("", |step| &step.stdout)
        );
    }
    say::result("the service that is shipped runs under systemd");
    Ok(())
}

/// A Debian with systemd, made once, and what changes behind it: the kernel unpacks one archive after another.
fn image() -> Result<PathBuf> {
    let base = super::folder().join("systemd.cpio");
    if !base.exists() {
        say::step("making a Debian with systemd");
        let root = super::folder().join("systemd-root");
        debian_root::make(&root, "essential", &["systemd-sysv"])?;
        let partial = base.with_extension("partial");
        let mut pack = test::root_command("sh")?;
        pack.args([
            "-ec",
            "cd \"$1\" && find . -xdev | cpio --quiet -o -H newc > \"$2\"",
            "sh",
        ])
        .args([&root, &partial]);
        process::run(&mut pack)?;
        process::run(
            test::root_command("rm")?
                .args(["-r", "--one-file-system"])
                .arg(&root),
        )?;
        fs::rename(&partial, &base).context("name the Debian")?;
    }
    let path = super::folder().join("systemd-initramfs.cpio");
    let mut out = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let mut debian = File::open(&base).context("read the Debian")?;
    io::copy(&mut debian, &mut out).context("copy the Debian")?;
    out.write_all(&ours()?).context("write what is ours")?;
    Ok(path)
}

fn ours() -> Result<Vec<u8>> {
    let sockleak = image::built(
        "SOCKLEAK_BIN",
        &["--release", "--package", "tracer"],
        "release/sockleak",
    )?;
    let player = image::built(
        "SOCKLEAK_RIGS",
        &["--package", "tests", "--bin", "rigs"],
        "debug/rigs",
    )?;
    let mut archive = Archive::default();
    archive.file(PROGRAM, &image::read(&sockleak)?);
    archive.file(XTASK, &image::read(&std::env::current_exe()?)?);
    archive.file(RIG_PLACE, &image::read(&image::rig_path(&player, RIG)?)?);
    for unit in [SERVICE, "sockleak.socket"] {
        let text = image::read(&repo::root().join("contrib/systemd").join(unit))?;
        archive.plain(&format!("{UNITS}/{unit}"), &text);
    }
    let scenario = format!(
        "[Unit]\nDescription=What a guest is to show\nSuccessAction=poweroff-force\nFailureAction=poweroff-force\n\
         [Service]\nType=oneshot\nTimeoutStartSec=infinity\nStandardOutput=journal+console\nStandardError=journal+console\n\
         ExecStart={XTASK} {} --systemd\n",
        guest::COMMAND
    );
    archive.plain(
        &format!("{UNITS}/sockleak-guest.service"),
        scenario.as_bytes(),
    );
    Ok(archive.finish())
}

fn checks(steps: &[Step]) -> Vec<Check> {
    let said = |name: &str| {
        let step = record::find(steps, name).ok_or("the guest did not come to it")?;
        if step.code == Some(0) {
            // What it warns of counts where nothing may be said.
            let warned = if name == Words::VERIFY {
                step.stderr.as_str()
            } else {
                ""
            };
            return Ok(format!("{}{warned}", step.stdout));
        }
        Err(format!("{:?}: {}{}", step.code, step.stdout, step.stderr))
    };
    let state = |name: &str, wanted: &[&str]| {
        let text = said(name)?;
        let all = wanted
            .iter()
            .all(|line| text.lines().any(|known| known == *line));
        if all {
            Ok(wanted.join(", "))
        } else {
            Err(text)
        }
    };
    let check = |name: &str, outcome: Result<String, String>| Check {
        name: name.to_owned(),
        outcome,
    };
    vec![
        check(Words::START, said(Words::START)),
        check(Words::FIRST, said(Words::FIRST).map(|_| "yes".to_owned())),
        check(
            Words::REPORT,
            said(Words::REPORT).and_then(|text| named(&text)),
        ),
        check(
            Words::RUNS,
            state(Words::RUNS, &["ActiveState=active", "NRestarts=0"]),
        ),
        check(
            Words::SECURITY,
            said(Words::SECURITY).and_then(|text| exposed(&text)),
        ),
        check(Words::VERIFY, said(Words::VERIFY).and_then(silent)),
        check(Words::STOP, said(Words::STOP)),
        check(
            Words::STOPPED,
            state(Words::STOPPED, &["ActiveState=inactive", "Result=success"]),
        ),
    ]
}

fn named(text: &str) -> Result<String, String> {
    let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut sites = report.sites.iter().filter_map(|site| {
        let blame = site.blame.as_ref()?;
        (blame.function == FUNCTION).then(|| format!("{} {} {FUNCTION}", site.count, site.verdict))
    });
    sites.next().ok_or_else(|| "no site names it".to_owned())
}

fn exposed(text: &str) -> Result<String, String> {
    let line = text
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    let line = line.ok_or("it gives no level")?;
    let level = line
        .split(": ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let level = level.and_then(|level| level.parse::<f64>().ok());
    match level {
        Some(level) if level <= MOST_EXPOSED => Ok(format!("{level}")),
        _ => Err(line.to_owned()),
    }
}

fn silent(text: String) -> Result<String, String> {
    if text.is_empty() {
        Ok("clean".to_owned())
    } else {
        Err(text)
    }
}
