//! `cargo xtask soak`: `sockleak watch` or `serve` for as long as asked, under programs that leak, are told of and end, one
//! after another. Its memory and that of its helper must not grow: once all that is bounded is full, the
//! slope of what is resident is printed and held to a bound; of `serve` also how many there are of everything that
//! it remembers.

mod leaker;
mod memory;
mod remembered;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use self::leaker::Leaker;
use self::memory::Line;
use self::remembered::Remembered;
use crate::trouble::Trouble;
use crate::{process, repo, say, test};

/// So many have to come before what the tracer remembers of programs is full (2048 copies of stacks, 512 processes).
const FILLS: u64 = 700;
/// And so long it takes until what is remembered for a minute is as much as it will be.
const FILLED: Duration = Duration::from_secs(85);
/// Fewer samples tell nothing.
const LEAST: usize = 20;
/// Time enough to attach, and for the first programs to be told of.
const ATTACHING: Duration = Duration::from_secs(4);
const GLANCE: Duration = Duration::from_secs(1);
/// How often a line is printed.
const SAY: u64 = 60;
/// What the straight line through the measured part may rise by from its beginning to its end, MiB: a moment in which
/// the machine was busy leaves a heap with holes behind.
const MOST_RISE: f64 = 8.0;

/// Watch programs that leak and end, for a while, and hold the tracer's memory to what it was
#[derive(clap::Args)]
pub struct Args {
    /// How long; 2.5 is the least that leaves time to measure
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Programs that leak at the same time; each lives for about two seconds
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    together: u32,
    /// Measure `serve`, scraped every few seconds, instead of `watch`
    #[arg(long)]
    serve: bool,
    /// The program to measure; default: the release build of this checkout
    #[arg(long)]
    sockleak: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Trouble::error(
            "the soak needs root",
            "it traces with eBPF",
            "run `sudo -E env PATH=\"$PATH\" cargo xtask soak`",
        ));
    }
    test::prepare()?;
    let sockleak = match &args.sockleak {
        Some(path) => path.clone(),
        None => build()?,
    };
    let rig = leaker::program()?;
    let mut tracer = Tracer::start(&sockleak, args.serve)?;
    sleep(ATTACHING);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..args.together)
        .map(|number| {
            let (rig, stop, done) = (rig.clone(), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || leak(number, &rig, &stop, &done))
        })
        .collect();
    let whole = Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes")?;
    let measured = measure(&mut tracer, whole, &done);
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker
            .join()
            .map_err(|_| anyhow::anyhow!("a thread that starts programs died"))??;
    }
    judge(&measured?, done.load(Ordering::Relaxed))
}

fn build() -> Result<PathBuf> {
    say::step("building the release binary");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    process::run(cargo.args(["build", "--release", "--locked", "--package", "tracer"]))?;
    Ok(repo::target().join("release/sockleak"))
}

/// One program after another, every other one from a file of its own: what is remembered of files must go as well.
fn leak(number: u32, rig: &Path, stop: &AtomicBool, done: &AtomicU64) -> Result<()> {
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        Leaker::start(rig, round % 2 == 1, number)?.leak_and_end()?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// One sample a second, of the time after which nothing that is bounded has to grow.
#[derive(Default)]
struct Measured {
    /// Seconds since the start, MiB.
    resident: Vec<(f64, f64)>,
    remembered: Remembered,
}

fn measure(tracer: &mut Tracer, whole: Duration, done: &AtomicU64) -> Result<Measured> {
    let began = Instant::now();
    let mut measured = Measured::default();
    let mut said = 0;
    while began.elapsed() < whole {
        sleep(GLANCE);
        if let Some(status) = tracer.child.try_wait().context("look after sockleak")? {
            bail!("sockleak ended with {status} while it should watch");
        }
        let metrics = tracer.web.as_deref().map(scrape).transpose()?;
        let Some(resident) = memory::of_family(tracer.child.id()) else {
            continue;
        };
        if began.elapsed() >= FILLED.max(whole / 3) && done.load(Ordering::Relaxed) >= FILLS {
            let at = began.elapsed().as_secs_f64();
            measured.resident.push((at, resident));
            measured.remembered.note(at, &metrics.unwrap_or_default());
        }
        if began.elapsed().as_secs() / SAY > said {
            said += 1;
            let programs = done.load(Ordering::Relaxed);
            say::step(format_args!(
                "{said} min: {resident:.1} MiB resident, {programs} programs have leaked and ended"
            ));
        }
    }
    Ok(measured)
}

fn judge(measured: &Measured, programs: u64) -> Result<()> {
    let samples = &measured.resident;
    if samples.len() < LEAST {
        return Err(Trouble::error(
            format!("nothing could be measured: {programs} programs have leaked and ended"),
            format!(
                "what the tracer may remember of programs is full after {FILLS}, and only then can it be flat"
            ),
            "run it longer, or more programs at a time with --together",
        ));
    }
    let line = Line::through(samples).context("too few samples were taken")?;
    let rise = line.rise();
    say::result(format_args!(
        "{programs} programs have leaked and ended; resident, once full: {:.1} MiB in the mean, slope {:+.3} MiB a \
         minute, {rise:+.2} MiB in {:.1} min",
        line.mean,
        line.slope * 60.0,
        line.seconds / 60.0
    ));
    let growing = measured.remembered.growing();
    if !growing.is_empty() {
        return Err(Trouble::error(
            format!("the tracer remembers more and more: {}", growing.join(", ")),
            "what it keeps of programs that ended is not forgotten",
            "look at what ARCHITECTURE.md says is bounded, and at tracer/src/track/retention.rs",
        ));
    }
    if rise <= MOST_RISE {
        return Ok(());
    }
    Err(Trouble::error(
        format!("the tracer's memory grew by {rise:.1} MiB, and {MOST_RISE} are allowed"),
        "something is remembered of every program that ended",
        "run it longer to see whether it goes on, and look at what ARCHITECTURE.md says is bounded",
    ))
}

/// As a monitoring system does, by the socket of a file: no port of this machine is taken.
fn scrape(socket: &Path) -> Result<String> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .context("ask for the metrics")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("read the metrics")?;
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(answer);
    }
    bail!(
        "a scrape was answered with {:?}",
        answer.lines().next().unwrap_or_default()
    )
}

/// `watch` or `serve` of what this starts, so that other programs of the machine are not in the measure; ended when
/// this goes.
struct Tracer {
    child: Child,
    /// Where `serve` answers.
    web: Option<PathBuf>,
}

impl Tracer {
    fn start(sockleak: &Path, serve: bool) -> Result<Self> {
        let web = serve.then(|| repo::target().join(format!("soak-{}.sock", std::process::id())));
        let mut command = Command::new(sockleak);
        command.arg(if serve { "serve" } else { "watch" });
        if let Some(socket) = &web {
            command.arg(format!("--web.listen-address=unix:{}", socket.display()));
        }
        let child = command
            .args(["--min-age", "1s", "--pid"])
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", sockleak.display()))?;
        Ok(Self { child, web })
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Gone already is fine; so is one that had to be killed.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
