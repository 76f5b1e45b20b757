//! One measurement of one program, and the check that it saw what there was to see.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::memory::Kernel;
use crate::bench::seen::Seen;
use crate::bench::tool::{self, Kind, Tool};
use crate::bench::{alone, folder, proc, sockleak};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Snapshot,
    Ss,
    SsProcesses,
    Watch,
}

impl What {
    pub const ALL: [Self; 4] = [Self::Snapshot, Self::Ss, Self::SsProcesses, Self::Watch];

    pub const fn shown(self) -> &'static str {
        match self {
            Self::Snapshot => "sockleak snapshot --json --output FILE",
            Self::Ss => "ss -tan state close-wait",
            Self::SsProcesses => "ss -tanp",
            Self::Watch => "sockleak watch",
        }
    }
}

/// All measurements, in the order they were taken; seconds, bytes.
#[derive(Debug, Default)]
pub struct Figures {
    pub snapshot: Vec<f64>,
    pub ss: Vec<f64>,
    pub ss_processes: Vec<f64>,
    /// No sockets.
    pub empty: Watched,
    /// Sockets that were stuck before.
    pub found: Watched,
    /// Sockets that got stuck meanwhile.
    pub live: Watched,
}

#[derive(Debug, Default)]
pub struct Watched {
    /// By its own account, in seconds; empty when it does not say.
    pub bootstrap: Vec<f64>,
    /// From its start until it said so.
    pub ready: Vec<f64>,
    pub resident: Vec<f64>,
    pub peak: Vec<f64>,
    pub kernel: Kernel,
}

/// Starts like everyone's `watch`; `-v` makes it say when it has found what was there.
const WATCH: Kind = Kind::Sockleak(&["watch", "--json", "--duration", "1h", "-v"]);
const BOOTSTRAP: &str = "bootstrap:";
/// A first report is built and freed, timers fire once.
const SETTLE: Duration = Duration::from_secs(3);

pub fn measure(what: What, sockets: u32, figures: &mut Figures) -> Result<()> {
    alone::wait()?;
    match what {
        What::Snapshot => figures.snapshot.push(snapshot(sockets)?),
        What::Ss => figures
            .ss
            .push(ss(&["-tan", "state", "close-wait"], sockets)?),
        What::SsProcesses => figures.ss_processes.push(ss(&["-tanp"], sockets)?),
        What::Watch => watch(sockets, &mut figures.found)?,
    }
    Ok(())
}

fn snapshot(sockets: u32) -> Result<f64> {
    let output = folder().join("snapshot.json");
    let mut command = Command::new(sockleak());
    command
        .args(["snapshot", "--json", "--output"])
        .arg(&output);
    let seconds = timed(&mut command)?;
    let file = File::open(&output).context("read the snapshot")?;
    let report =
        serde_json::from_reader(BufReader::new(file)).context("understand the snapshot")?;
    expect_found(&report, sockets)?;
    Ok(seconds)
}

fn ss(args: &[&str], sockets: u32) -> Result<f64> {
    let output = folder().join("ss.out");
    let mut command = Command::new(tool::find("ss")?);
    command
        .args(args)
        .stdout(File::create(&output).with_context(|| format!("create {}", output.display()))?);
    let seconds = timed(&mut command)?;
    let lines = BufReader::new(File::open(&output).context("read what ss wrote")?)
        .lines()
        .count();
    if lines < sockets as usize {
        bail!("ss listed {lines} of {sockets} sockets");
    }
    Ok(seconds)
}

/// Wall-clock seconds from start to exit.
fn timed(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!(
            "{} ended with {status}",
            command.get_program().to_string_lossy()
        );
    }
    Ok(seconds)
}

pub fn watch(sockets: u32, figures: &mut Watched) -> Result<()> {
    alone::wait()?;
    Watch::start()?.end(sockets, figures)
}

/// A running `watch` that has found what was there at its start.
pub struct Watch {
    tool: Tool,
    ready: Option<Duration>,
}

impl Watch {
    pub fn start() -> Result<Self> {
        let mut tool = Tool::start("watch", WATCH)?;
        let ready = tool.wait_for_line(BOOTSTRAP)?;
        Ok(Self { tool, ready })
    }

    /// Takes its memory and ends it.
    pub fn end(self, sockets: u32, figures: &mut Watched) -> Result<()> {
        sleep(SETTLE);
        let pid = self.tool.pid();
        let resident = proc::resident(pid).context("read the memory of `watch`")?;
        let maps = proc::mapped_bpf_maps(pid).context("read the mappings of `watch`")?;
        figures
            .resident
            .push(resident.now.saturating_sub(maps) as f64);
        figures.peak.push(resident.peak.saturating_sub(maps) as f64);
        figures.kernel = Kernel::of(pid)?;
        let seen = self.tool.stop()?;
        let report = seen.report.as_ref().context("`watch` wrote no report")?;
        expect_found(report, sockets)?;
        figures.ready.extend(self.ready.map(|it| it.as_secs_f64()));
        figures.bootstrap.extend(own_account(&seen));
        Ok(())
    }
}

/// Seconds from a line `bootstrap: N sockets in M ms`.
fn own_account(seen: &Seen) -> Option<f64> {
    let line = seen.errors.lines().find(|line| line.contains(BOOTSTRAP))?;
    milliseconds(line).map(|ms| ms / 1e3)
}

fn milliseconds(line: &str) -> Option<f64> {
    let (before, _) = line.split_once(" ms")?;
    before.rsplit(' ').next()?.parse().ok()
}

fn expect_found(report: &serde_json::Value, sockets: u32) -> Result<()> {
    let found = report
        .pointer("/totals/close_wait")
        .and_then(serde_json::Value::as_u64)
        .context("the report counts no sockets")?;
    if found < u64::from(sockets) {
        bail!("the report knows {found} of {sockets} stuck sockets");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_how_long_it_took() {
        let line = "sockleak: bootstrap: 80000 sockets in 212.5 ms";
        assert_eq!(milliseconds(line), Some(212.5));
        assert_eq!(
            milliseconds("bootstrap: 3 sockets in 7 ms (1 pass)"),
            Some(7.0)
        );
        assert_eq!(milliseconds("bootstrap: soon"), None);
    }

    #[test]
    fn a_report_that_misses_sockets_is_refused() {
        let report = serde_json::json!({"totals": {"close_wait": 5}});
        assert!(expect_found(&report, 5).is_ok());
        assert!(expect_found(&report, 6).is_err());
        assert!(expect_found(&serde_json::json!({}), 0).is_err());
    }
}
