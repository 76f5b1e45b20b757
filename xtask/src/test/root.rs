//! Root for the parts that need it and no others: building stays with the user.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::trouble::Trouble;
use crate::{process, say};

/// What a test binary needs to find its files and tools, once sudo has cleared the environment: by
/// prefix, and narrow, since a command line is for all to see and cargo's variables hold tokens.
const KEPT: &[&str] = &[
    "CARGO_BIN_",
    "CARGO_HOME",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_TMPDIR",
    "INSTA_",
    "LD_LIBRARY_PATH",
    "PATH",
    "PROPTEST_",
    "RUSTUP_",
    "RUST_",
    "SOCKLEAK_",
    "TERM",
];

/// Run a program as root with this environment; `cargo test` starts test binaries through it
#[derive(clap::Args)]
pub struct AsRoot {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

pub fn as_root(args: &AsRoot) -> Result<()> {
    let mut sudo = Command::new("sudo");
    sudo.args(["--non-interactive", "--", "env"]);
    for (name, value) in env::vars_os() {
        if KEPT
            .iter()
            .any(|kept| name.to_str().is_some_and(|name| name.starts_with(kept)))
        {
            let mut assignment = name;
            assignment.push("=");
            assignment.push(value);
            sudo.arg(assignment);
        }
    }
    // Only comes back when it could not start.
    Err(sudo.args(&args.command).exec()).context("start sudo")
}

/// Says what root is for, and asks for the password while somebody is still looking.
pub fn announce() -> Result<()> {
    if is_root()? {
        return Ok(());
    }
    say::step(
        "the live tests load programs into the kernel, so their binaries run as root through sudo; \
         everything is built as you",
    );
    process::run(Command::new("sudo").arg("--validate")).map_err(|error| {
        Trouble::error(
            format!("cannot become root: {error:#}"),
            "sudo is not installed, or this user may not use it",
            "run `cargo xtask test` as root, or run `cargo test --workspace --exclude tests` for \
             the tests that need no root",
        )
    })
}

/// A command that needs root, through sudo when we are not root.
pub fn command(program: &str) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--").arg(program);
    Ok(sudo)
}

/// A program of this checkout as root, through [`as_root`] when we are not.
pub fn elevated(program: &Path) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new(env::current_exe().context("find this program")?);
    command.args(["as-root", "--"]).arg(program);
    Ok(command)
}

/// Makes `cargo test` start its binaries through [`as_root`]; cargo itself stays the user's.
pub fn run_tests_as_root(test: &mut Command) -> Result<()> {
    if is_root()? {
        return Ok(());
    }
    let xtask = env::current_exe().context("find this program")?;
    let runner = serde_json::to_string(&[xtask.to_string_lossy().as_ref(), "as-root", "--"])
        .context("quote the test runner")?;
    // `cfg(all())` is every target: the host's triple need not be known.
    test.arg("--config")
        .arg(format!("target.'cfg(all())'.runner={runner}"));
    Ok(())
}

fn is_root() -> Result<bool> {
    Ok(process::read(Command::new("id").arg("-u"))? == "0")
}
