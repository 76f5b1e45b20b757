//! The service that leaks: a rig of the tests in a process of its own, built with debug information
//! so that its leak has a file and a line. It ends when its stdin ends, and so with us.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::trouble::Trouble;
use crate::{process, repo, say};

/// Answers requests, sees its clients hang up, and closes only after health checks.
pub const SOURCE: &str = "tests/rigs/c/eof_ignored.c";
/// As `ps` and the report show it; the kernel keeps 15 bytes.
pub const NAME: &str = "leaky-service";

const COMPILING: Duration = Duration::from_mins(1);
const ENDING: Duration = Duration::from_secs(2);

/// Builds the service into target/demo.
pub fn compile() -> Result<PathBuf> {
    let folder = repo::target().join("demo");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let program = folder.join(NAME);
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    say::step(format_args!("compiling the leaking service, {SOURCE}"));
    let mut command = Command::new(&compiler);
    command
        .current_dir(repo::root())
        .args(["-std=gnu11", "-g", "-O2", "-pthread"])
        .arg(names_relative_to(&repo::root()))
        .args([SOURCE, "-o"])
        .arg(&program);
    process::run_within(&mut command, COMPILING).map_err(|error| {
        Trouble::error(
            format!("cannot compile the demo's service: {error:#}"),
            "there is no C compiler here, or it lacks the headers of the C library",
            "install gcc (Debian: apt-get install gcc libc6-dev), or name another compiler in CC",
        )
    })?;
    Ok(program)
}

/// Reports then show a path as a reader of this repository would write it.
fn names_relative_to(root: &Path) -> OsString {
    let mut option = OsString::from("-ffile-prefix-map=");
    option.push(root);
    option.push("=");
    option
}

/// The running service; ended, by its own pid only, when dropped.
pub struct Service {
    child: Child,
    port: u16,
    /// Kept open: the service goes on printing.
    output: BufReader<ChildStdout>,
}

impl Service {
    pub fn start(program: &Path, connections: usize) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the demo's service")?;
        let stdout = child.stdout.take().context("the service has no stdout")?;
        let mut service = Self {
            child,
            port: 0,
            output: BufReader::new(stdout),
        };
        service.port = service.told_port()?;
        Ok(service)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn told_port(&mut self) -> Result<u16> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("read what the service says")?;
        line.trim_end()
            .strip_prefix("ready ")
            .and_then(|port| port.parse().ok())
            .with_context(|| format!("the service says `{}`, not `ready PORT`", line.trim_end()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + ENDING;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            sleep(Duration::from_millis(10));
        }
    }
}
