//! A program that leaks for some seconds: the rig `c-eof-ignored`, and its clients.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{process, repo};

const RIG: &str = "c-eof-ignored";
const CLIENTS: usize = 5;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: soak\r\n\r\n";
/// Longer than `--min-age` and what a look takes.
const STUCK: Duration = Duration::from_millis(1800);
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds the rig if need be; where it is.
pub fn program() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    process::run(cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "tests",
        "--bin",
        "rigs",
    ]))?;
    let rigs = repo::target().join("debug/rigs");
    let built = process::read(
        Command::new(rigs)
            .args(["build", RIG])
            .current_dir(repo::root()),
    )?;
    Ok(built.trim().into())
}

pub struct Leaker {
    child: Child,
    output: BufReader<ChildStdout>,
    own_file: Option<PathBuf>,
}

impl Leaker {
    /// `own_file`: from a copy, as a program that has just been deployed.
    pub fn start(rig: &Path, own_file: bool, number: u32) -> Result<Self> {
        let copy = own_file.then(|| {
            std::env::temp_dir().join(format!("sockleak-soak-{}-{number}", std::process::id()))
        });
        if let Some(copy) = &copy {
            // Another inode each time.
            let _ = fs::remove_file(copy);
            fs::copy(rig, copy).with_context(|| format!("copy the rig to {}", copy.display()))?;
        }
        let mut command = Command::new(copy.as_deref().unwrap_or(rig));
        command.args(["--connections", &CLIENTS.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = started(&mut command).context("start the rig")?;
        let output = child.stdout.take().context("hear the rig")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
            own_file: copy,
        })
    }

    pub fn leak_and_end(mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("hear the rig")?;
        let port = line
            .trim()
            .strip_prefix("ready ")
            .context("the rig says no port")?;
        let port: u16 = port.parse().context("the rig's port")?;
        for _ in 0..CLIENTS {
            let mut client =
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connect to the rig")?;
            client
                .set_read_timeout(Some(PATIENCE))
                .context("limit a read")?;
            client.write_all(REQUEST).context("ask the rig")?;
            hear(&mut client).context("hear the rig's answer")?;
        }
        sleep(STUCK);
        Ok(())
    }
}

/// A child of another thread may hold the copy open for writing until it executes its own program.
fn started(command: &mut Command) -> io::Result<Child> {
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Some of the answer; a signal is no answer.
fn hear(client: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 256];
    loop {
        match client.read(&mut answer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            heard => return heard.map(drop),
        }
    }
}

impl Drop for Leaker {
    fn drop(&mut self) {
        // The end of its stdin ends it; one that does not hear of it is killed.
        drop(self.child.stdin.take());
        for _ in 0..40 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(copy) = &self.own_file {
            let _ = fs::remove_file(copy);
        }
    }
}
