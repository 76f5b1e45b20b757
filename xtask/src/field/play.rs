//! Plays one case: starts the service, watches it, lets the traffic come, and reads what sockleak says.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::case::{Case, Truth, duration};
use super::judge::{Class, Judgement, judge};
use super::needs::{self, Environment};
use super::said::Said;
use super::{processes, sockets};

/// What came of a case.
pub enum Played {
    /// It could not be set up, or did not leave sockets stuck: it says nothing of sockleak.
    Skipped(String),
    Judged(Judgement),
}

pub fn play(case: &Case, sockleak: &Path) -> Played {
    let played = Stage::set(case, sockleak).and_then(|stage| stage.watch());
    processes::end_all();
    match played {
        Ok(played) => played,
        Err(error) => Played::Skipped(format!("{error:#}").replace('\n', " ")),
    }
}

struct Stage<'c> {
    case: &'c Case,
    sockleak: &'c Path,
    work: PathBuf,
    port: u16,
    pid: String,
    vars: Environment,
}

impl<'c> Stage<'c> {
    /// The service runs and listens.
    fn set(case: &'c Case, sockleak: &'c Path) -> Result<Self> {
        let mut vars = needs::prepare(case)?;
        let work = needs::cache()
            .join("work")
            .join(case.name.replace(':', "-"));
        if work.exists() {
            fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
        }
        fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
        let port = free_ports()?;
        for (name, value) in [("WORK", &work), ("TMPDIR", &work)] {
            vars.insert(name.to_owned(), value.to_string_lossy().into_owned());
        }
        vars.insert("PORT".to_owned(), port.to_string());
        let mut stage = Self {
            case,
            sockleak,
            work,
            port,
            pid: String::new(),
            vars,
        };
        stage.run("start")?;
        stage.pid = stage.wait_for_service()?;
        Ok(stage)
    }

    fn run(&self, part: &str) -> Result<Child> {
        let log = File::create(self.work.join(format!("{part}.log"))).context("create a log")?;
        Command::new("bash")
            .arg(self.case.dir.join("run.sh"))
            .arg(part)
            .current_dir(&self.work)
            .envs(&self.vars)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share a log")?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start run.sh {part}"))
    }

    fn wait_for_service(&self) -> Result<String> {
        let end = Instant::now() + Duration::from_secs_f64(self.case.setup);
        let ready = self.port + self.case.ready.unwrap_or_default();
        loop {
            let written = fs::read_to_string(self.work.join("pid")).unwrap_or_default();
            let pid = written.split_whitespace().next();
            if let Some(pid) = pid.filter(|_| sockets::listens(ready)) {
                sleep(Duration::from_secs_f64(self.case.settle));
                let lives = Path::new("/proc").join(pid).exists();
                ensure!(lives, "the service ended at once: {}", self.last_words());
                return Ok(pid.to_owned());
            }
            ensure!(
                Instant::now() < end,
                "not up after {} s: {}",
                self.case.setup,
                self.last_words()
            );
            sleep(Duration::from_millis(100));
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.work.join("start.log")).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    fn watch(&self) -> Result<Played> {
        let case = self.case;
        let lasts = duration(&case.duration)?;
        let arguments = [
            "watch",
            "--min-age",
            &case.min_age,
            "--duration",
            &case.duration,
        ];
        let watch = self.ask(&arguments, "report.json")?;
        sleep(Duration::from_secs_f64(case.lead));
        self.run("traffic")?;
        let said = self.answer(watch, lasts + Duration::from_secs(90), "report.json");
        let stuck = sockets::stuck(self.port);
        let wanted = case.truth.sockets;
        let visible = !case.truth.clean && !case.not_in_ss;
        if visible && stuck * 2 < wanted {
            bail!("did not reproduce: {stuck} in CLOSE_WAIT instead of {wanted}");
        }
        let said = match said {
            Ok(said) => said,
            Err(error) => return Ok(Played::Judged(failed(&error))),
        };
        let mut truth = case.truth.clone();
        if !case.not_in_ss {
            truth.sockets = wanted.min(stuck);
        }
        let mut judgement = judge(&truth, &said, self.port)?;
        self.snapshot(&mut judgement)?;
        Ok(Played::Judged(judgement))
    }

    /// Where the case says what a look without history must find.
    fn snapshot(&self, judgement: &mut Judgement) -> Result<()> {
        let Some(wanted) = &self.case.snapshot_expect else {
            return Ok(());
        };
        sleep(Duration::from_secs_f64(wanted.wait));
        let min_age = wanted.min_age.as_deref().unwrap_or("1s");
        let asked = self.ask(&["snapshot", "--min-age", min_age], "snapshot.json")?;
        let said = self.answer(asked, Duration::from_secs(90), "snapshot.json");
        let found = match said {
            Ok(said) => judge(&wanted.truth, &said, self.port)?,
            Err(error) => failed(&error),
        };
        if found.outcome == Class::Wrong {
            judgement.outcome = Class::Wrong;
            let why = found.why.iter().map(|why| format!("snapshot: {why}"));
            judgement.why.extend(why);
        }
        Ok(())
    }

    fn ask(&self, arguments: &[&str], output: &str) -> Result<Child> {
        let errors = File::create(self.work.join("sockleak.err")).context("create a log")?;
        Command::new(self.sockleak)
            .args(arguments)
            .args(["--pid", &self.pid, "--json", "--output"])
            .arg(self.work.join(output))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {}", self.sockleak.display()))
    }

    fn answer(&self, mut asked: Child, limit: Duration, output: &str) -> Result<Said> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = asked.try_wait().context("wait for sockleak")? {
                break status;
            }
            if Instant::now() > end {
                interrupt(&mut asked)?;
                bail!("sockleak did not end in {} s", limit.as_secs());
            }
            sleep(Duration::from_millis(50));
        };
        let report = fs::read(self.work.join(output));
        let report = report.map_err(anyhow::Error::from).and_then(|bytes| {
            let said = serde_json::from_slice(&bytes)?;
            Ok(said)
        });
        report.map_err(|error| {
            let log = fs::read_to_string(self.work.join("sockleak.err")).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            anyhow!("sockleak ended with {status} and no report ({error}): {last}")
        })
    }
}

/// Ctrl-C; and if that does not end it, KILL.
fn interrupt(asked: &mut Child) -> Result<()> {
    if let Some(pid) = i32::try_from(asked.id()).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::INT).context("interrupt sockleak")?;
    }
    sleep(Duration::from_secs(10));
    if asked.try_wait().context("wait for sockleak")?.is_none() {
        asked.kill().context("end sockleak")?;
        asked.wait().context("wait for sockleak")?;
    }
    Ok(())
}

/// Sockets were stuck and there is no answer: as wrong as any.
fn failed(error: &anyhow::Error) -> Judgement {
    Judgement {
        outcome: Class::Wrong,
        why: vec![format!("{error:#}")],
        findings: Vec::new(),
        told: 0,
    }
}

/// The first of so many neighbours that are free, below the ports the kernel gives to clients. Others each time: those
/// of the case before stay in `TIME_WAIT` for a minute, and a program that does not ask to share them cannot bind.
fn free_ports() -> Result<u16> {
    static PLAYED: AtomicU32 = AtomicU32::new(0);
    let at = std::process::id().wrapping_add(PLAYED.fetch_add(1, Ordering::Relaxed));
    let first = 15_000 + u16::try_from(at % 800).unwrap_or_default() * 20;
    let all_free = |port: &u16| {
        (*port..*port + sockets::PORTS).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    let mut candidates = (first..31_000).chain(15_000..first).step_by(20);
    candidates.find(all_free).context("no ports are free")
}

impl Truth {
    /// How many sockets are expected, for people.
    pub fn size(&self) -> String {
        if self.clean {
            return "healthy".to_owned();
        }
        self.sockets.to_string()
    }
}
