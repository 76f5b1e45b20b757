//! The tracer of `sockleak run`, a process of its own: follows one tree of processes for the process that
//! started it, and reports to it. It writes no file of the user's and judges nothing.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use tokio::io::unix::AsyncFd;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    current_thread, init_log,
    pace::{Pace, TICK},
    session::{Session, ns},
};
use crate::{
    diagnose::Findings,
    exit::Explained,
    model::quantity::agree,
    options::{Mode, Options, Run},
    probe::{attach::Wanted, host::Host, host::mono_now_ns, privilege},
    run::{
        privileged::ARGUMENT,
        wire::{self, Final, News, Order},
    },
    source::process,
};

/// While the end is not clear, the sockets are looked at this often.
const SETTLING: Duration = Duration::from_millis(50);
/// For a process that was killed until all that it had open is closed.
const DYING: Duration = Duration::from_secs(5);
const LOOK_AT_DYING: Duration = Duration::from_millis(2);

/// Traces for the process behind stdin, when that is what this process was started for.
pub fn trace_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT));
    asked.then(|| match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn serve() -> anyhow::Result<()> {
    ignore_signals()?;
    let link = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let record = wire::receive_file(&link).context("nobody has asked for a trace")?;
    let Some(Order::Follow { mut options, root }) = wire::receive(&link)? else {
        return Ok(());
    };
    init_log(options.verbosity);
    options.filter.pids = vec![root];
    // Opened by the user with the user's rights; here it is only named.
    options.record = record.as_ref().map(path_of);
    let Mode::Run(run) = options.mode.clone() else {
        return Ok(());
    };
    let traced = current_thread()?.block_on(trace(&options, &run, &link));
    if let Err(error) = traced {
        wire::send(&link, &News::Unable(explained(&error)))?;
    }
    Ok(())
}

/// The terminal's are for CMD, and so are those that somebody sends to all. The end of the link ends us.
fn ignore_signals() -> anyhow::Result<()> {
    use Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    let ours = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP];
    let set: SigSet = ours.into_iter().collect();
    set.thread_block().context("leave signals to the command")
}

fn path_of(file: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn explained(error: &anyhow::Error) -> Explained {
    let known = error
        .chain()
        .find_map(|part| part.downcast_ref::<Explained>());
    known.cloned().unwrap_or_else(|| {
        Explained::new(
            format!("{error:#}"),
            "an operation of the tracer failed that should not",
            "run it again with -vv; `sockleak doctor` says what this host allows",
        )
    })
}

async fn trace(options: &Options, run: &Run, link: &UnixStream) -> anyhow::Result<()> {
    let host = Host::probe();
    privilege::check_required(&options.mode, &host)?;
    let session = Session::start(options, &host, &Wanted::asked(options))?;
    wire::send(link, &News::Attached)?;
    let mut tree = Tree {
        pace: Pace::new(&session),
        min_age: ns(options.min_age),
        session,
        run,
        orders: readable(link)?,
        link,
        told: BTreeSet::new(),
        hurry: false,
    };
    if !tree.until_ended().await? {
        // Nobody wants to know any more.
        return Ok(());
    }
    tree.settle().await?;
    let last = tree.last_report()?;
    // Taking hooks away takes longer than all that was asked of them in a short run, and nobody has to wait for it: this
    // process ends by itself.
    wire::send(link, &News::Finished(Box::new(last)))?;
    Ok(())
}

struct Tree<'o> {
    session: Session<'o>,
    pace: Pace,
    run: &'o Run,
    min_age: u64,
    link: &'o UnixStream,
    orders: AsyncFd<OwnedFd>,
    /// Sites the other side knows of.
    told: BTreeSet<String>,
    hurry: bool,
}

impl Tree<'_> {
    /// Follows until CMD has ended; false when the other side has gone.
    async fn until_ended(&mut self) -> anyhow::Result<bool> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let found = self.pace.tick(&mut self.session)?;
                    self.tell(found)?;
                }
                () = self.session.copies() => self.session.drain()?,
                ready = self.orders.readable() => {
                    ready.context("wait for orders")?.clear_ready();
                    match wire::receive(self.link)? {
                        Some(Order::Follow { .. }) => {}
                        Some(order) => {
                            self.hurry = matches!(order, Order::Hurry);
                            return Ok(true);
                        }
                        None => return Ok(false),
                    }
                }
            }
        }
    }

    /// The sites that are new, where somebody waits for one.
    fn tell(&mut self, found: Option<Findings>) -> anyhow::Result<()> {
        if self.run.until.is_none() || self.pace.ask_again_at.is_some() {
            return Ok(());
        }
        let mut sites = found.map_or_else(Vec::new, |found| found.report.sites);
        sites.retain(|site| self.told.insert(site.id.clone()));
        if !sites.is_empty() {
            wire::send(self.link, &News::Sites(sites))?;
        }
        Ok(())
    }

    /// Waits for CMD's children as long as the user allows, then until no socket is undecided.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let ended = Instant::now();
        while !self.hurry && ended.elapsed() < self.run.wait_children && !self.alive().is_empty() {
            self.pause().await?;
            let found = self.pace.tick(&mut self.session)?;
            self.tell(found)?;
        }
        self.until_none_is_dying().await;
        let ended = Instant::now();
        self.look()?;
        while !self.hurry && ended.elapsed() < self.run.settle && self.is_undecided() {
            self.pause().await?;
            self.look()?;
        }
        // A rule that needs a second look gets it, a second at most.
        let findings = self.session.findings()?;
        if let Some(at) = findings.and_then(|findings| findings.ask_again_at)
            && !self.hurry
        {
            sleep(Duration::from_nanos(at.saturating_sub(mono_now_ns()))).await;
            self.session.inspect()?;
        }
        Ok(())
    }

    /// Of a process that was killed it is only known in the end what the exit closed.
    async fn until_none_is_dying(&self) {
        let began = Instant::now();
        let is_dying = |tree: &Self| {
            let mut pids = tree.session.live.followed().into_iter();
            pids.any(process::is_dying)
        };
        while began.elapsed() < DYING && is_dying(self) {
            sleep(LOOK_AT_DYING).await;
        }
    }

    /// Costs nothing where nothing is left to look at.
    fn look(&mut self) -> anyhow::Result<()> {
        self.session.drain()?;
        self.session.sweep_all()?;
        if self.session.tracker.count() > 0 || !self.alive().is_empty() {
            self.session.inspect()?;
        }
        Ok(())
    }

    async fn pause(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            () = sleep(SETTLING) => {}
            ready = self.orders.readable() => {
                ready.context("wait for orders")?.clear_ready();
                // Also when the other side has gone.
                let _any: Option<Order> = wire::receive(self.link)?;
                self.hurry = true;
            }
        }
        Ok(())
    }

    /// A socket of a living process is in a state that may become a leak, or be left, in a moment.
    fn is_undecided(&self) -> bool {
        let alive = self.alive();
        let now = mono_now_ns();
        self.session.tracker.sockets().any(|socket| {
            socket.is_stuck_state()
                && socket.age(now) < self.min_age
                && (socket.holders.is_empty()
                    || socket
                        .holders
                        .iter()
                        .any(|holder| alive.contains(&holder.pid)))
        })
    }

    /// Processes of the tree that have not ended.
    fn alive(&self) -> Vec<u32> {
        let mut pids = self.session.live.followed();
        pids.retain(|pid| process::is_alive(*pid));
        pids.sort_unstable();
        pids
    }

    fn last_report(&mut self) -> anyhow::Result<Final> {
        self.session.release_all()?;
        let left = self.alive();
        // What was lost is repaired by a list of what exists. What is missing from one may have gone with an event that
        // is still on its way; not from two.
        for _ in 0..2 {
            if !self.session.tracker.is_complete() {
                self.session.inspect()?;
            }
        }
        let mut report = self.session.last_report()?.report;
        report.warnings.extend(self.of_those_left(&left));
        let counters = self.session.tracker.counters();
        // Who listens is known by one of the maps: what waits at another listener is not seen.
        report.window.complete &= counters.defects == 0;
        // One that has lost its place is a stranger's when it is touched again.
        if counters.slots_evicted > 0 {
            report.window.complete = false;
            report.warnings.push(format!(
                "there was no room in the kernel's table for all sockets of the command: {} of them were not followed to the end",
                counters.slots_evicted
            ));
        }
        // Of what ended meanwhile no list tells, and a leak that only an exit closed has ended. A run that the kernel
        // skipped is one transition of one socket: the table and the next one make up for it.
        let lost = counters.lost;
        if lost > 0 {
            report.window.complete = false;
            report.warnings.push(format!(
                "of sockets that ended while {lost} events were lost nothing can be said any more"
            ));
        }
        Ok(Final {
            report,
            left,
            problem: None,
        })
    }

    /// They are judged by what they had open when the command ended.
    fn of_those_left(&self, left: &[u32]) -> Option<String> {
        const NAMED: usize = 5;
        let is_expected = self.run.kill_children || self.run.until.is_some();
        if left.is_empty() || is_expected {
            return None;
        }
        let pids: Vec<String> = left.iter().take(NAMED).map(u32::to_string).collect();
        let more = if left.len() > NAMED { ", …" } else { "" };
        let processes = agree(left.len() as u64, "process", "processes");
        Some(format!(
            "{} {processes} of the command had not ended (pid {}{more}): what they close later is not seen; \
             --wait-children DUR waits for them",
            left.len(),
            pids.join(", ")
        ))
    }
}

fn readable(link: &UnixStream) -> anyhow::Result<AsyncFd<OwnedFd>> {
    let link = link.as_fd().try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may change their descriptor; OwnedFd does not"
    )]
    let ready = AsyncFd::new(link);
    ready.context("wait for orders")
}
