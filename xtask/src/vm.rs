//! `cargo xtask vm`: runs the tool on other kernels, each in a QEMU guest of a few seconds, and
//! compares what it reports with what that kernel should allow. Needs no root and no KVM.

mod checks;
mod cpio;
mod expected;
mod guest;
mod image;
mod kernel;
mod matrix;
mod qemu;
mod record;
mod report;
mod systemd;

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

pub use self::guest::{Args as GuestArgs, run as guest};
use self::qemu::Guest;
use crate::{repo, say};

/// Every release line that Debian's suites offer a cloud kernel of, oldest first.
const KERNELS: &[&str] = &[
    "5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3",
];

/// Run the tool on other kernels in QEMU guests; without --kernel on all of them
#[derive(clap::Args)]
pub struct Args {
    /// A release line such as 6.1; may be repeated. Only a run of all rewrites docs/kernels.md
    #[arg(long, value_name = "MAJOR.MINOR")]
    kernel: Vec<String>,
    /// Let systemd run the service that is shipped, on one kernel; takes minutes
    #[arg(long)]
    systemd: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let _lock = lock()?;
    qemu::check_installed()?;
    if args.systemd {
        return systemd::run(args.kernel.first().map_or(systemd::KERNEL, String::as_str));
    }
    let lines: Vec<&str> = if args.kernel.is_empty() {
        KERNELS.to_vec()
    } else {
        args.kernel.iter().map(String::as_str).collect()
    };
    let image = image::build()?;
    let mut columns = Vec::new();
    for line in lines {
        let kernel = kernel::fetch(line)?;
        say::step(format_args!("booting {}", kernel.release));
        let checks = match qemu::boot(&kernel, &Guest::scenario(&image)) {
            Ok(steps) => checks::all(&kernel, &steps)?,
            // One kernel that does not get through says nothing about the others.
            Err(error) => vec![checks::never_ended(&error)],
        };
        say::result(format_args!("{}", kernel.release));
        for check in &checks {
            say::result(check);
        }
        columns.push((kernel, checks));
    }
    if args.kernel.is_empty() {
        matrix::write(&columns)?;
    }
    let failures: Vec<String> = columns
        .iter()
        .flat_map(|(kernel, checks)| {
            let failed = checks.iter().filter(|check| check.outcome.is_err());
            failed.map(|check| format!("{} {}", kernel.release, check.name))
        })
        .collect();
    if !failures.is_empty() {
        bail!(
            "not as expected: {}; what the guests said is in {}",
            failures.join(", "),
            repo::shown(&folder())
        );
    }
    say::result(format_args!("kernels that passed: {}", columns.len()));
    Ok(())
}

/// Kernels, the image and the guests' words; all of it can be deleted at any time.
fn folder() -> PathBuf {
    repo::target().join("vm")
}

/// Guests share the machine's few cores and the image: a second run waits.
fn lock() -> Result<File> {
    fs::create_dir_all(folder()).context("create target/vm")?;
    let path = folder().join("lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        say::step("waiting for another `cargo xtask vm` to end");
        file.lock()
            .with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}
