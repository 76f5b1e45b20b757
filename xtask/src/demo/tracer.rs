//! The real tracer, started as a user starts it: what it prints is passed on as it comes, and kept.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::trouble::Trouble;
use crate::{process, repo, say};

const DURATION: Duration = Duration::from_secs(9);
const MIN_AGE: &str = "2s";
/// Attaching takes less than a second on an idle machine.
const ATTACHING: Duration = Duration::from_secs(4);
const SETTLED: Duration = Duration::from_millis(300);
/// The report comes at the end of the duration; a busy machine may take longer to name its stacks.
const REPORTING: Duration = Duration::from_mins(1);

/// Asks for the password while somebody is still looking, and says what root is for.
pub fn become_root() -> Result<()> {
    if is_root()? {
        return Ok(());
    }
    say::step(
        "loading programs into the kernel needs root: sockleak, and nothing else, runs through sudo",
    );
    process::run(Command::new("sudo").arg("--validate")).map_err(|error| {
        Trouble::error(
            format!("cannot become root: {error:#}"),
            "sudo is not installed, or this user may not use it",
            "run `cargo xtask demo` as root",
        )
    })
}

fn is_root() -> Result<bool> {
    Ok(process::read(Command::new("id").arg("-u"))? == "0")
}

/// The running tracer. It ends by itself; dropped early, it is ended by its own pid.
pub struct Tracer {
    child: Child,
    deadline: Instant,
    told: Option<JoinHandle<String>>,
}

impl Tracer {
    pub fn start(port: u16) -> Result<Self> {
        let sockleak = repo::target().join("debug/sockleak");
        let duration = format!("{}s", DURATION.as_secs());
        let port = port.to_string();
        let options = [
            "watch",
            "--duration",
            &duration,
            "--min-age",
            MIN_AGE,
            "--port",
            &port,
        ];
        let root = is_root()?;
        say::step(format_args!(
            "{}{} {}",
            if root { "" } else { "sudo " },
            repo::shown(&sockleak),
            options.join(" ")
        ));
        let mut words: Vec<OsString> = Vec::new();
        if !root {
            words.extend(["sudo".into(), "--".into()]);
        }
        // Its stdout is a pipe to us: whether there is a terminal behind us it cannot know.
        words.push("env".into());
        if std::io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() {
            words.push("CLICOLOR_FORCE=1".into());
        }
        words.push(sockleak.into());
        let mut words = words.into_iter();
        let mut child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start sockleak")?;
        let stdout = child.stdout.take().context("sockleak has no stdout")?;
        Ok(Self {
            child,
            deadline: Instant::now() + DURATION + REPORTING,
            told: Some(thread::spawn(move || pass_on(stdout))),
        })
    }

    /// Attached is who holds links to the kernel and adds no more. Under sudo only root may look;
    /// then the time is waited out. The harm of too short a time is one less certain finding more.
    pub fn wait_until_attached(&mut self) -> Result<()> {
        let deadline = Instant::now() + ATTACHING;
        let mut last = (0, Instant::now());
        while Instant::now() < deadline && !self.has_ended()? {
            let links = links_of(self.child.id());
            if links != last.0 {
                last = (links, Instant::now());
            } else if links > 0 && last.1.elapsed() > SETTLED {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        let status = self.child.try_wait().context("wait for sockleak")?;
        Ok(status.is_some())
    }

    /// Waits for the end and returns what was printed.
    pub fn finish(mut self) -> Result<String> {
        while !self.has_ended()? {
            if Instant::now() >= self.deadline {
                return Err(Trouble::error(
                    "sockleak did not end after its --duration",
                    "this machine is very busy, or sockleak has a defect",
                    "run the demo again; if it stays so, please report it with `sockleak doctor --json`",
                ));
            }
            sleep(Duration::from_millis(50));
        }
        let status = self.child.wait().context("wait for sockleak")?;
        let told = self.told.take().map(JoinHandle::join);
        let told = told.context("sockleak's output was taken already")?;
        let told = told.map_err(|_| anyhow!("the thread that reads sockleak's output died"))?;
        if status.success() {
            return Ok(told);
        }
        Err(Trouble::error(
            format!("sockleak ended with {status}"),
            "its own message above says why",
            "`sudo target/debug/sockleak doctor` says what this machine allows and what to do",
        ))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Under sudo it is not ours to kill; then it ends with its duration.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_on(stdout: impl Read) -> String {
    let mut told = String::new();
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        say::result(&line);
        told.push_str(&line);
        told.push('\n');
    }
    told
}

/// How many links to the kernel a process holds, as far as we may look.
fn links_of(pid: u32) -> usize {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return 0;
    };
    let is_link = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path()).is_ok_and(|info| info.contains("link_id:"))
    };
    folder.flatten().filter(is_link).count()
}
