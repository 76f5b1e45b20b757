//! Our side of the load generator: one process for a whole run, so that all arms are measured with
//! the same memory layout.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::load::{DONE, Job};

pub struct Generator {
    child: Child,
    jobs: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Generator {
    pub fn start() -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        Self::of(Command::new(own).args(["bench", "load-generator"]))
    }

    /// A program that does the same jobs.
    pub fn of(program: &mut Command) -> Result<Self> {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the load generator")?;
        let jobs = child.stdin.take().context("talk to the load generator")?;
        let answers = child.stdout.take().context("hear the load generator")?;
        Ok(Self {
            child,
            jobs,
            answers: BufReader::new(answers),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn run(&mut self, job: Job) -> Result<()> {
        writeln!(self.jobs, "{}", job.line()).context("give the load generator a job")?;
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .context("wait for the load generator")?;
        if answer.trim() != DONE {
            bail!("the load generator gave up: {}", job.line());
        }
        Ok(())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // The first may fail because it has ended already; the second reaps it either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
