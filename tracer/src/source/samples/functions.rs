//! What sampled threads execute of a language runtime. An interpreter's frames the kernel program has noted at each moment;
//! those of Java lie on the stack that came with it, and further out on the stack as it is a moment later: expressions nest
//! deeper than what is copied. All are addresses, which say nothing once other code has taken the place: believed is what
//! was called the same when samples came as it is at the end, counted from outside.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use tracer_common::{
    event::Sampled,
    runtime::{
        Activation, KIND_HOTSPOT, KIND_V8, MANAGED_DEEPER, MANAGED_NONE, MANAGED_UNKNOWN,
        MANAGED_WHOLE,
    },
};

use super::Thread;
use crate::{
    model::{input::ProcessKey, stack::Frame},
    probe::{host::mono_now_ns, runtimes::Runtimes, samples::Sample},
    source::runtimes::layout_of,
    symbolize::{Function, Functions as Told, Noted, StackCopy, Symbolizer},
};

/// The program runs just before the kernel reads the clock for the sample; the next sample is 10 ms away.
const SAME_MOMENT: u64 = 2_000_000;
/// Stacks that are named as they come; of an interpreter those with functions not met before.
const MAX_WAITING: usize = 512;
const EVERY: usize = 10;
/// What lies further out than the copy was read so soon after the sample, nanoseconds.
const SOON: u64 = 1_000_000_000;

/// Of a process, the words of what was noted.
type Words = (u32, Vec<(u64, u64)>);
/// A function as it is called: identity, name and file.
type Known = (u64, Option<String>, Option<String>);

/// Of one round.
#[derive(Default)]
pub struct Functions {
    threads: Vec<Thread>,
    /// By process: where Java's code lies.
    java: HashMap<u32, Range<u64>>,
    /// Processes with V8, whose code lies wherever it was made.
    javascript: HashSet<u32>,
    /// By thread and time.
    noted: HashMap<u32, BTreeMap<u64, Moment>>,
    /// Methods of each sample of Java as it came, by thread and time.
    methods: HashMap<(u32, u64), Told>,
    /// Codes of which somebody was asked already, with their process.
    asked: HashSet<(u32, u64)>,
    waiting: VecDeque<(Thread, Waiting)>,
    known: HashSet<(u32, Known)>,
    /// What functions of JavaScript are called at the end of the round.
    told: HashMap<Words, Option<Vec<Frame>>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Moment {
    managed: u32,
    functions: Vec<Activation>,
}

enum Waiting {
    Functions(Vec<Activation>),
    Java(Sample),
}

impl Functions {
    /// Before a round of these threads: the kernel program is to know their runtimes.
    pub fn of(threads: &[Thread], runtimes: &Runtimes) -> Self {
        let is_java = |pid: u32| {
            let runtime = runtimes.of(layout_of(pid)?)?;
            let image = runtime.image..runtime.image.checked_add(runtime.image_length)?;
            (runtime.kind == KIND_HOTSPOT).then_some((pid, image))
        };
        let has_v8 = |pid: &u32| {
            let runtime = layout_of(*pid).and_then(|layout| runtimes.of(layout));
            runtime.is_some_and(|runtime| runtime.kind == KIND_V8)
        };
        let pids: HashSet<u32> = threads.iter().map(|one| one.pid).collect();
        Self {
            threads: threads.to_vec(),
            javascript: pids.iter().copied().filter(has_v8).collect(),
            java: pids.into_iter().filter_map(is_java).collect(),
            ..Self::default()
        }
    }

    /// What the kernel program has noted.
    pub fn note(&mut self, sampled: &Sampled) {
        let is_it = |one: &&Thread| (one.pid, one.tid) == (sampled.tgid, sampled.tid);
        let Some(thread) = self.threads.iter().find(is_it).copied() else {
            return;
        };
        let functions: Vec<Activation> = sampled.functions().collect();
        let is_new = |one: &Activation| !self.asked.contains(&(thread.pid, one.code));
        if functions.iter().any(is_new) && self.waiting.len() < MAX_WAITING {
            let codes = functions.iter().map(|one| (thread.pid, one.code));
            self.asked.extend(codes);
            let functions = Waiting::Functions(functions.clone());
            self.waiting.push_back((thread, functions));
        }
        let moment = Moment {
            managed: sampled.managed,
            functions,
        };
        let of_thread = self.noted.entry(thread.tid).or_default();
        of_thread.insert(sampled.header.at, moment);
    }

    /// A sample that has just come.
    pub fn came(&mut self, pid: u32, tid: u32, sample: Sample) {
        let is_it = |one: &&Thread| (one.pid, one.tid) == (pid, tid);
        let Some(thread) = self.threads.iter().find(is_it).copied() else {
            return;
        };
        if !self.is_in_java(pid, sample.pc) {
            return;
        }
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((thread, Waiting::Java(sample)));
        }
    }

    /// Asks what those that came are called, for no longer than this.
    pub fn name(&mut self, patience: Duration, symbolizer: &mut Symbolizer) {
        let began = Instant::now();
        while began.elapsed() < patience
            && let Some((thread, waiting)) = self.waiting.pop_front()
        {
            match waiting {
                Waiting::Functions(functions) => {
                    let told = symbolizer.functions(&StackCopy {
                        noted: Noted::Sampled {
                            functions: &functions,
                            deeper: false,
                        },
                        ..of_process(thread)
                    });
                    self.learn(thread.pid, &told.unwrap_or_default());
                }
                Waiting::Java(sample) => {
                    let told = symbolizer.functions(&interrupted(thread, &sample));
                    let methods = told.filter(|told| !told.truncated);
                    let moment = (thread.tid, sample.at);
                    self.methods.extend(methods.map(|told| (moment, told)));
                }
            }
        }
    }

    /// Of the samples of Java in a round that is over, asks again what the methods of some are called: the first, the last
    /// and every tenth. What is met less often is not in nine of ten.
    pub(super) fn name_again(
        &mut self,
        thread: Thread,
        samples: &[Sample],
        symbolizer: &mut Symbolizer,
    ) {
        let is_named = |one: &&Sample| self.methods.contains_key(&(thread.tid, one.at));
        let named: Vec<&Sample> = samples.iter().filter(is_named).collect();
        for sample in named.iter().step_by(EVERY).chain(named.last()) {
            let told = symbolizer.functions(&interrupted(thread, sample));
            self.learn(thread.pid, &told.unwrap_or_default());
        }
    }

    fn learn(&mut self, pid: u32, told: &Told) {
        let known = told.functions.iter().map(|one| (pid, known(one)));
        self.known.extend(known);
    }

    /// The outer methods of a sample, innermost first, that are called what they were when it came; `None` where none are
    /// sure.
    pub(super) fn in_java(&self, thread: Thread, sample: &Sample) -> Option<Vec<Frame>> {
        let then = self.methods.get(&(thread.tid, sample.at))?;
        let is_known = |one: &&Function| self.known.contains(&(thread.pid, known(one)));
        let sure = then.functions.iter().rev().take_while(is_known);
        let mut frames: Vec<Frame> = sure.map(|one| one.frame.clone()).collect();
        frames.reverse();
        (!frames.is_empty()).then_some(frames)
    }

    /// Functions of JavaScript were noted at the moment of a sample. Between them lies code of V8, of which native frames
    /// tell nothing.
    pub(super) fn is_in_javascript(&self, thread: Thread, at: u64) -> bool {
        self.javascript.contains(&thread.pid)
            && matches!(self.at(thread.tid, at), Noted::Sampled { .. })
    }

    /// These functions, if all are called what they were when they were noted. Most samples of a thread have the same.
    pub(super) fn in_javascript(
        &mut self,
        thread: Thread,
        at: u64,
        symbolizer: &mut Symbolizer,
    ) -> Option<Vec<Frame>> {
        let noted = self.at(thread.tid, at);
        let functions = match noted {
            Noted::Sampled { functions, deeper } if !deeper => functions.iter(),
            _ => return None,
        };
        let words = functions.map(|one| (one.code, one.instruction));
        let same = (thread.pid, words.collect());
        if let Some(told) = self.told.get(&same) {
            return told.clone();
        }
        let process = of_process(thread);
        let told = symbolizer.functions(&StackCopy { noted, ..process });
        let told = told.filter(|told| self.are_sure(thread.pid, told));
        let frames = told.map(|told| told.functions.into_iter().map(|one| one.frame).collect());
        self.told.insert(same, frames.clone());
        frames
    }

    pub(super) fn is_in_java(&self, pid: u32, pc: u64) -> bool {
        self.java.get(&pid).is_some_and(|image| image.contains(&pc))
    }

    /// What was noted at the moment of a sample.
    pub(super) fn at(&self, tid: u32, at: u64) -> Noted<'_> {
        let moments = self.noted.get(&tid);
        let around = at.saturating_sub(SAME_MOMENT)..=at.saturating_add(SAME_MOMENT);
        let nearest = moments.and_then(|moments| {
            let near = moments.range(around);
            near.min_by_key(|(noted, _)| noted.abs_diff(at))
        });
        let Some((_, moment)) = nearest else {
            return Noted::Nothing;
        };
        match moment.managed {
            MANAGED_UNKNOWN => Noted::Nothing,
            MANAGED_NONE => Noted::NoFunctions,
            MANAGED_WHOLE | MANAGED_DEEPER => Noted::Sampled {
                functions: &moment.functions,
                deeper: moment.managed == MANAGED_DEEPER,
            },
            _ => Noted::Unread,
        }
    }

    /// All of them, and each is called as it was when it came.
    pub(super) fn are_sure(&self, pid: u32, told: &Told) -> bool {
        let is_known = |one| self.known.contains(&(pid, known(one)));
        !told.truncated && !told.functions.is_empty() && told.functions.iter().all(is_known)
    }
}

fn known(function: &Function) -> Known {
    let frame = &function.frame;
    let (name, file) = (frame.function.clone(), frame.file.clone());
    (function.identity, name, file)
}

fn of_process(thread: Thread) -> StackCopy<'static> {
    StackCopy::of_nothing(ProcessKey {
        pid: thread.pid,
        start_boot: thread.start_boot,
    })
}

/// The stack of a thread that was sampled in code that Java has made.
fn interrupted(thread: Thread, sample: &Sample) -> StackCopy<'_> {
    let Sample { pc, sp, fp, .. } = *sample;
    StackCopy {
        pc,
        sp,
        fp,
        noted: Noted::Interrupted {
            from: [pc, sp, fp],
            lately: mono_now_ns().saturating_sub(sample.at) < SOON,
        },
        bytes: &sample.stack,
        ..of_process(thread)
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::runtime::MANAGED_UNREAD;
    use zerocopy::FromZeros;

    use super::*;

    const THREAD: Thread = Thread {
        pid: 7,
        start_boot: 1,
        tid: 9,
        began: 2,
    };

    fn sampled(at: u64, managed: u32, codes: &[u64]) -> Box<Sampled> {
        let mut record = Box::new(Sampled::new_zeroed());
        record.header.at = at;
        (record.tgid, record.tid) = (THREAD.pid, THREAD.tid);
        (record.managed, record.managed_frames) = (managed, codes.len() as u32);
        for (activation, code) in record.activations.iter_mut().zip(codes) {
            activation.code = *code;
        }
        record
    }

    fn functions() -> Functions {
        Functions {
            threads: vec![THREAD],
            ..Functions::default()
        }
    }

    fn codes(noted: Noted<'_>) -> Vec<u64> {
        match noted {
            Noted::Sampled { functions, .. } => functions.iter().map(|one| one.code).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_sample_is_of_what_was_noted_at_its_moment() {
        let mut all = functions();
        all.note(&sampled(10_000_000, MANAGED_WHOLE, &[3, 0, 4]));
        all.note(&sampled(20_000_000, MANAGED_WHOLE, &[5]));
        all.note(&sampled(30_000_000, MANAGED_UNREAD, &[5]));
        all.note(&sampled(40_000_000, MANAGED_NONE, &[]));
        let at = |time| all.at(THREAD.tid, time);
        assert_eq!(codes(at(10_004_000)), [3, 4]);
        assert_eq!(codes(at(19_999_000)), [5]);
        assert_eq!(at(15_000_000), Noted::Nothing);
        assert_eq!(at(30_000_500), Noted::Unread);
        assert_eq!(at(40_000_500), Noted::NoFunctions);
        assert_eq!(all.at(8, 10_004_000), Noted::Nothing);
        // Of another process that has the number of a thread now.
        let mut other = sampled(50_000_000, MANAGED_WHOLE, &[3]);
        other.tgid = 8;
        all.note(&other);
        assert_eq!(all.at(THREAD.tid, 50_000_000), Noted::Nothing);
    }

    #[test]
    fn each_function_is_asked_about_once() {
        let mut all = functions();
        for at in 1..=50 {
            all.note(&sampled(at * 10_000_000, MANAGED_WHOLE, &[3, 4]));
        }
        all.note(&sampled(510_000_000, MANAGED_WHOLE, &[6, 3, 4]));
        assert_eq!(all.waiting.len(), 2);
    }

    #[test]
    fn what_is_called_otherwise_than_before_is_not_sure() {
        let of = |name: &str, identity| Function {
            frame: Frame {
                function: Some(name.to_owned()),
                file: Some("/srv/app.py".to_owned()),
                ..Frame::default()
            },
            identity,
        };
        let told = |functions: &[Function]| Told {
            functions: functions.to_vec(),
            ..Told::default()
        };
        let (handle, main) = (of("handle", 3), of("main", 4));
        let mut all = functions();
        all.learn(THREAD.pid, &told(&[handle.clone(), main.clone()]));
        let is_sure = |functions: &[Function]| all.are_sure(THREAD.pid, &told(functions));
        assert!(is_sure(&[handle.clone(), main.clone()]));
        assert!(!is_sure(&[of("other", 3), main.clone()]));
        assert!(!is_sure(&[of("handle", 5), main.clone()]));
        assert!(!is_sure(&[]));
        assert!(!all.are_sure(8, &told(std::slice::from_ref(&main))));
        let cut = Told {
            truncated: true,
            ..told(&[handle.clone(), main.clone()])
        };
        assert!(!all.are_sure(THREAD.pid, &cut));
        // Of Java from outside, up to the first that is not.
        let sample = Sample {
            at: 10,
            pc: 1,
            sp: 2,
            fp: 3,
            lr: 0,
            stack: Vec::new().into(),
        };
        let now = told(&[of("inner", 9), handle.clone(), main]);
        all.methods.insert((THREAD.tid, 10), now);
        let names = |frames: Option<Vec<Frame>>| -> Vec<String> {
            let frames = frames.into_iter().flatten();
            frames.filter_map(|frame| frame.function).collect()
        };
        assert_eq!(names(all.in_java(THREAD, &sample)), ["handle", "main"]);
        all.methods
            .insert((THREAD.tid, 10), told(&[handle, of("main", 5)]));
        assert_eq!(all.in_java(THREAD, &sample), None);
    }
}
