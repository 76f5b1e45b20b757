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

/// What a process is, before its threads are read.
enum Machine {
    None,
    /// Not long ago. The threads in it that wait for something other than each other.
    Asked(Vec<u32>),
    Ask(Box<Target>, Moments),
    Refuses(Why),
}

/// Processes that were looked at, and what is to be asked of whom.
pub struct Looked<'p>(Vec<(&'p Process, Machine)>);

impl Looked<'_> {
    /// Threads whose native stacks are worth reading: a machine has dozens of its own that only
    /// wait for work.
    pub fn waiting(&self) -> Vec<u32> {
        let of = |(_, machine): &(_, Machine)| match machine {
            Machine::Asked(waiting) => waiting.clone(),
            Machine::Ask(_, moments) => moments::waiting(moments),
            Machine::None | Machine::Refuses(_) => Vec::new(),
        };
        self.0.iter().flat_map(of).collect()
    }
}

/// Asks the virtual machines among the processes it is shown.
pub struct Jvms {
    limits: Limits,
    foreign_proc: bool,
    known: HashMap<u32, Known>,
    asked: VecDeque<Instant>,
    cleaning: Vec<JoinHandle<()>>,
}

impl Jvms {
    pub fn new(foreign_proc: bool) -> Self {
        Self {
            limits: LIMITS,
            foreign_proc,
            known: HashMap::new(),
            asked: VecDeque::new(),
            cleaning: Vec::new(),
        }
    }

    /// To be called before the threads' own stacks are read, so that who has not moved from here to
    /// [`Self::name`] had both stacks at one moment.
    pub fn look<'p>(&mut self, processes: &'p [Process]) -> Looked<'p> {
        let now = Instant::now();
        let mut look = |process: &Process| {
            let known = self.known.get(&process.pid);
            let known = known.filter(|known| known.start_boot == process.start_boot);
            if let Some(known) = known.filter(|known| now < known.until) {
                return Machine::Asked(known.names.waiting());
            }
            match self.find(process) {
                Ok(None) => Machine::None,
                Ok(Some(target)) => Machine::Ask(Box::new(target), moments::of(process.pid)),
                Err(why) => Machine::Refuses(why),
            }
        };
        let machines = processes.iter().map(|process| (process, look(process)));
        Looked(machines.collect())
    }

    /// Gives the threads, which were read of the same processes, their names and frames. Takes some
    /// seconds at worst. Returns why some have none.
    pub fn name(&mut self, looked: Looked<'_>, threads: &mut [Vec<Thread>]) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for ((process, machine), threads) in looked.0.into_iter().zip(threads) {
            let (known, why) = match machine {
                Machine::Asked(_) => (None, None),
                Machine::None => (Some((EVERY, Names::default())), None),
                Machine::Refuses(why) => (Some((AFTER_REFUSAL, Names::default())), Some(why)),
                Machine::Ask(target, before) => match self.ask(*target, before) {
                    Ok((names, why)) => (Some((EVERY, names)), why),
                    Err(why) => (Some((AFTER_REFUSAL, Names::default())), Some(why)),
                },
            };
            if let Some((time, names)) = known {
                self.remember(process, time, names);
            }
            let names = self.known.get(&process.pid).map(|known| &known.names);
            if let Some(names) = names.filter(|names| !names.is_empty()) {
                names.give(&moments::of(process.pid), threads);
            }
            let pid = process.pid;
            refusals.extend(why.map(|why| Refusal { pid, why }));
        }
        refusals
    }

    fn find(&mut self, process: &Process) -> Result<Option<Target>, Why> {
        let found = target::find(process)?;
        if found.is_none() {
            return Ok(None);
        }
        if self.foreign_proc {
            return Err(Why::ForeignProc);
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
        Ok((Names::of(dump, before), answer.cut))
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
        let mut jvms = Jvms::new(false);
        let looked = jvms.look(std::slice::from_ref(&process));
        let refused = jvms.name(looked, &mut [Vec::new()]).pop();
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
            let mut refusals = || {
                let looked = jvms.look(std::slice::from_ref(&process));
                jvms.name(looked, &mut [Vec::new()])
            };
            last = refusals().pop();
            assert_eq!(refusals(), [], "asked again");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(last.unwrap().why, Why::TooMany(AT_ONCE));
    }
}
