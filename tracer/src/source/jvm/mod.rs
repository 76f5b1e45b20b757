//! Java threads by their own names and frames, told by the virtual machine itself: no option, agent or
//! restart is needed. Asks only machines that say they take requests, and each seldom: a thread dump
//! holds all its threads for some milliseconds.

mod attach;
mod dump;
mod merge;
mod moments;
mod perfdata;
mod refusal;
mod target;

use std::{
    collections::{HashMap, VecDeque},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use attach::{Asking, LIMITS, Limits};
use merge::Names;
use moments::Moments;
pub use refusal::{Refusal, Why};
use target::Target;

use crate::model::input::{Process, Thread};

/// A machine that answered is not asked again before this, and what it said is used meanwhile.
const EVERY: Duration = Duration::from_secs(10);
/// One that refused or was silent is left alone for longer.
const AFTER_REFUSAL: Duration = Duration::from_mins(1);
/// Machines asked within [`EVERY`].
const AT_ONCE: usize = 4;
const MAX_PROCESSES: usize = 64;

/// What is known of a process until it is looked at again.
struct Known {
    start_boot: u64,
    until: Instant,
    names: Names,
}

/// Asks the virtual machines among the processes it is shown.
pub struct Jvms {
    limits: Limits,
    in_pid_namespace: bool,
    known: HashMap<u32, Known>,
    asked: VecDeque<Instant>,
    cleaning: Vec<JoinHandle<()>>,
}

impl Jvms {
    pub fn new(in_pid_namespace: bool) -> Self {
        Self {
            limits: LIMITS,
            in_pid_namespace,
            known: HashMap::new(),
            asked: VecDeque::new(),
            cleaning: Vec::new(),
        }
    }

    /// The process's threads as `read` finds them, named by its virtual machine if it has one. Takes
    /// some seconds at worst.
    pub fn threads(
        &mut self,
        process: &Process,
        read: impl FnOnce() -> Vec<Thread>,
    ) -> (Vec<Thread>, Option<Refusal>) {
        let now = Instant::now();
        let is_current =
            |known: &Known| known.start_boot == process.start_boot && now < known.until;
        if !self.known.get(&process.pid).is_some_and(is_current) {
            return self.look(process, read);
        }
        let mut threads = read();
        self.name(process, &mut threads);
        (threads, None)
    }

    fn look(
        &mut self,
        process: &Process,
        read: impl FnOnce() -> Vec<Thread>,
    ) -> (Vec<Thread>, Option<Refusal>) {
        let refused = |why| {
            let pid = process.pid;
            Some(Refusal { pid, why })
        };
        let target = match self.find(process) {
            Ok(Some(target)) => target,
            Ok(None) => {
                self.remember(process, EVERY, Names::new());
                return (read(), None);
            }
            Err(why) => {
                self.remember(process, AFTER_REFUSAL, Names::new());
                return (read(), refused(why));
            }
        };
        // Around both the stacks and the dump: who has not moved meanwhile has both at one moment.
        let before = moments::of(process.pid);
        let mut threads = read();
        let why = match self.ask(target, before) {
            Ok((names, why)) => {
                self.remember(process, EVERY, names);
                self.name(process, &mut threads);
                why
            }
            Err(why) => {
                self.remember(process, AFTER_REFUSAL, Names::new());
                Some(why)
            }
        };
        (threads, why.and_then(refused))
    }

    fn find(&mut self, process: &Process) -> Result<Option<Target>, Why> {
        let found = target::find(process)?;
        if found.is_none() {
            return Ok(None);
        }
        if self.in_pid_namespace {
            return Err(Why::InPidNamespace);
        }
        let recent = |asked: &Instant| asked.elapsed() < EVERY;
        self.asked.retain(recent);
        if self.asked.len() >= AT_ONCE {
            return Err(Why::TooMany(AT_ONCE));
        }
        self.asked.push_back(Instant::now());
        Ok(found)
    }

    fn ask(&mut self, target: Target, before: Moments) -> Result<(Names, Option<Why>), Why> {
        let (answer, thread) = Asking::begin(target, self.limits)?.answer();
        self.cleaning.retain(|thread| !thread.is_finished());
        self.cleaning.push(thread);
        let answer = answer?;
        let dump = dump::parse(&answer.text);
        if dump.is_empty() {
            return Err(answer.cut.unwrap_or(Why::Nonsense));
        }
        Ok((merge::by_thread(dump, before), answer.cut))
    }

    fn name(&self, process: &Process, threads: &mut [Thread]) {
        if let Some(known) = self.known.get(&process.pid)
            && !known.names.is_empty()
        {
            merge::apply(&known.names, &moments::of(process.pid), threads);
        }
    }

    fn remember(&mut self, process: &Process, time: Duration, names: Names) {
        if self.known.len() >= MAX_PROCESSES {
            self.known.retain(|_, known| Instant::now() < known.until);
        }
        if self.known.len() >= MAX_PROCESSES {
            self.known.clear();
        }
        let known = Known {
            start_boot: process.start_boot,
            until: Instant::now() + time,
            names,
        };
        self.known.insert(process.pid, known);
    }
}

/// A thread that still waits for a machine has a file to remove when that takes the signal or time is
/// up. A file system that hangs does not count.
impl Drop for Jvms {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.limits.trigger_stays + self.limits.patience;
        for thread in self.cleaning.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::unix::process::ExitStatusExt,
        path::Path,
        process::{Child, Command, Stdio},
    };

    use super::*;

    fn start(program: &Path, arguments: &[&str]) -> Child {
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        child
    }

    /// What is said of the process, which must be as alive as before.
    fn refusal(mut child: Child, output: &str) -> Option<Why> {
        let process = crate::source::process::read(child.id(), false).unwrap();
        let (_, refused) = Jvms::new(false).threads(&process, Vec::new);
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let mut text = String::new();
        child.stdout.unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, output);
        refused.map(|refusal| refusal.why)
    }

    #[test]
    fn who_is_no_machine_is_not_signalled_whatever_its_name() {
        let folder = tempfile::TempDir::new().unwrap();
        let copy = |program: &str, name: &str| {
            let copy = folder.path().join(name);
            std::fs::copy(program, &copy).unwrap();
            copy
        };
        let java = copy("/bin/sleep", "java");
        assert_eq!(refusal(start(&java, &["60"]), ""), None);
        let deaf = copy("/bin/sleep", "libjvm.so");
        assert_eq!(refusal(start(&deaf, &["60"]), ""), Some(Why::NotCaught));
        std::fs::remove_file(deaf).unwrap();
        let catches = copy("/bin/sh", "libjvm.so");
        let script = "trap 'echo caught' QUIT; while :; do sleep 0.1; done";
        let child = start(&catches, &["-c", script]);
        let pid = child.id();
        assert_eq!(refusal(child, ""), Some(Why::Unproven { pid }));
    }

    #[test]
    fn few_are_asked_at_once() {
        let folder = tempfile::TempDir::new().unwrap();
        let deaf = folder.path().join("libjvm.so");
        std::fs::copy("/bin/sleep", &deaf).unwrap();
        let mut jvms = Jvms::new(false);
        let mut last = None;
        for _ in 0..=AT_ONCE {
            let mut child = start(&deaf, &["60"]);
            let process = crate::source::process::read(child.id(), false).unwrap();
            last = jvms.threads(&process, Vec::new).1;
            assert_eq!(jvms.threads(&process, Vec::new).1, None, "asked again");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(last.unwrap().why, Why::TooMany(AT_ONCE));
    }
}
