//! One run of CMD beside its tracer, from the gate to the report.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::child::{Child, NotStarted};
use super::events::{End, Event, Events, Signals};
use super::identity::Identity;
use super::privileged::{self, Tracer};
use super::signals;
use super::wire::{self, Final, News, Order};
use crate::exit::Explained;
use crate::model::report::Site;
use crate::options::{IfUnable, Options, Run, Until};

/// For loading and attaching; sudo may be slow to look its user up.
const ATTACH: Duration = Duration::from_mins(1);
/// For the last inspection and the report, beyond what the user allows for settling.
const REPORT: Duration = Duration::from_mins(1);
/// Between asking processes to end and ending them.
const GRACE: Duration = Duration::from_secs(2);

/// What to run and how.
pub(super) struct Task<'a> {
    pub options: &'a Options,
    pub run: &'a Run,
    pub command: &'a [OsString],
    pub variable: Option<(&'a str, &'a OsStr)>,
    pub record: Option<&'a File>,
    pub signals: &'a Signals,
}

/// What one run has come to.
pub(super) struct Execution {
    pub end: Ended,
    pub traced: Result<Box<Final>, Explained>,
    /// The finding of `--until` has appeared.
    pub found: bool,
}

pub(super) enum Ended {
    NotStarted(NotStarted),
    With(End),
    /// Tracing is impossible, and that is a failure: CMD was not let go.
    NotTried,
}

struct Following<'a> {
    task: &'a Task<'a>,
    child: Child,
    events: Events,
    tracer: Result<Tracer, Explained>,
    end: Option<End>,
    finished: Option<Box<Final>>,
    found: bool,
    /// Until when CMD may run, and what ends it then.
    deadline: Option<(Instant, Signal)>,
}

pub(super) fn follow(task: &Task<'_>) -> anyhow::Result<Execution> {
    let identity = Identity::behind_sudo();
    let child = task
        .signals
        .as_before(|| Child::at_gate(task.command, identity, task.variable))?;
    let events = Events::of(task.signals);
    events.of_child(child.pid);
    let mut following = Following {
        task,
        tracer: Tracer::start(task.signals).map_err(|error| privileged::not_started(&error)),
        child,
        events,
        end: None,
        finished: None,
        found: false,
        deadline: None,
    };
    following.attach()?;
    if following.tracer.is_err() && task.run.if_unable == IfUnable::Fail {
        return Ok(following.executed(Ended::NotTried));
    }
    if following.end.is_none()
        && let Err(error) = following.child.let_go()?
    {
        // Nothing to report of: the tracer need not be waited for.
        return Ok(following.executed(Ended::NotStarted(error)));
    }
    following.wait_for_end();
    following.conclude();
    let end = following.end.unwrap_or(End::Signal(9));
    Ok(following.executed(Ended::With(end)))
}

impl Following<'_> {
    fn attach(&mut self) -> io::Result<()> {
        let Ok(tracer) = &self.tracer else {
            return Ok(());
        };
        self.events.of_tracer(tracer.link.try_clone()?);
        // A tracer that is gone already tells why by its end.
        let _ = tracer.follow(self.task.options, self.child.id(), self.task.record);
        let until = Instant::now() + ATTACH;
        while self.tracer.is_ok() && self.end.is_none() {
            match self.next(Some(until)) {
                Some(Event::News(news)) => match *news {
                    News::Attached => return Ok(()),
                    other => self.learn(other),
                },
                Some(event) => self.take(event),
                None => {
                    self.tracer = Err(privileged::silent("attached", ATTACH));
                }
            }
        }
        Ok(())
    }

    fn wait_for_end(&mut self) {
        self.deadline = self
            .task
            .run
            .timeout
            .map(|limit| (Instant::now() + limit, Signal::TERM));
        while self.end.is_none() {
            match self.next(self.deadline.map(|(at, _)| at)) {
                Some(event) => self.take(event),
                None => self.end_by_force(),
            }
            if self.found
                && self
                    .deadline
                    .is_none_or(|(_, signal)| signal == Signal::TERM)
            {
                self.end_by_force();
            }
        }
    }

    fn end_by_force(&mut self) {
        let signal = self.deadline.map_or(Signal::TERM, |(_, signal)| signal);
        let _ = kill_process(self.child.pid, signal);
        // A stopped process gets no other signal before it goes on.
        let _ = kill_process(self.child.pid, Signal::CONT);
        self.deadline = Some((Instant::now() + GRACE, Signal::KILL));
    }

    /// Lets the tracer settle and report; Ctrl-C makes it hurry, a second one ends the wait.
    fn conclude(&mut self) {
        let run = self.task.run;
        let mut until = Instant::now() + run.settle + run.wait_children + REPORT;
        let order = if self.found {
            Order::Hurry
        } else {
            Order::Ended
        };
        self.tell(&order);
        let mut hurried = self.found;
        while self.tracer.is_ok() && self.finished.is_none() {
            match self.next(Some(until)) {
                Some(Event::Interrupted | Event::Sent(libc::SIGINT | libc::SIGTERM)) => {
                    if hurried {
                        until = Instant::now();
                    }
                    hurried = true;
                    self.tell(&Order::Hurry);
                }
                Some(Event::Sent(_)) => {}
                Some(event) => self.take(event),
                None => self.tracer = Err(privileged::silent("reported", REPORT)),
            }
        }
        if let Some(last) = &self.finished
            && (run.kill_children || run.until.is_some())
        {
            end_all(&last.left);
        }
    }

    fn tell(&mut self, order: &Order) {
        if let Ok(tracer) = &self.tracer {
            // Its end is an event of its own.
            let _ = wire::send(&tracer.link, order);
        }
    }

    fn next(&mut self, until: Option<Instant>) -> Option<Event> {
        match until {
            // Both ends of the queue are ours: it is not closed before us.
            None => self.events.queue.recv().ok(),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.events.queue.recv_timeout(left).ok()
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Sent(number) => signals::pass_on(self.child.pid, number),
            Event::Stopped => signals::stop_too(),
            Event::Ended(end) => self.end = Some(end),
            Event::News(news) => self.learn(*news),
            Event::TracerGone if self.finished.is_none() => {
                if let Ok(tracer) = &mut self.tracer {
                    self.tracer = Err(tracer.obituary());
                }
            }
            Event::TracerGone | Event::Interrupted => {}
        }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Attached => {}
            News::Unable(why) => self.tracer = Err(why),
            News::Sites(sites) => self.found |= self.is_waited_for(&sites),
            News::Finished(last) => {
                self.found |= self.is_waited_for(&last.report.sites);
                self.finished = Some(last);
            }
        }
    }

    fn is_waited_for(&self, sites: &[Site]) -> bool {
        let until = self.task.run.until.as_ref();
        until.is_some_and(|until| sites.iter().any(|site| until.is_met_by(site)))
    }

    fn executed(self, end: Ended) -> Execution {
        let traced = match (self.finished, self.tracer) {
            (Some(last), _) => Ok(last),
            (None, Err(why)) => Err(why),
            (None, Ok(_)) => Err(privileged::silent("reported", REPORT)),
        };
        Execution {
            end,
            traced,
            found: self.found,
        }
    }
}

/// What is left of CMD's tree.
fn end_all(pids: &[u32]) {
    let pids: Vec<Pid> = pids
        .iter()
        .filter_map(|pid| Pid::from_raw(*pid as i32))
        .collect();
    let signal = |signal| {
        pids.iter()
            .filter(|pid| kill_process(**pid, signal).is_ok())
            .count()
    };
    let until = Instant::now() + GRACE;
    let mut left = signal(Signal::TERM);
    while left > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
        left = pids
            .iter()
            .filter(|pid| rustix::process::test_kill_process(**pid).is_ok())
            .count();
    }
    signal(Signal::KILL);
}

impl Until {
    fn is_met_by(&self, site: &Site) -> bool {
        site.verdict == self.verdict
            && self.function.as_ref().is_none_or(|wanted| {
                let blamed = site.blame.as_ref().map(|blame| blame.function.raw());
                blamed == Some(wanted)
            })
    }
}
