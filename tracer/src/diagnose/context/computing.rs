//! What a running thread computes, by samples of it. Runtimes spin too, in a collector or for want of work: only where
//! a function of the program was on the stack at nearly all moments is it known that the program computes.

use std::fmt;

use foldhash::HashMap;

use super::{Blamer, decoded::decoded, idle};
use crate::{
    model::{
        actor::Actor, input::Thread, quantity::span, samples::Moments, stack::Frame, wait::Wait,
    },
    track::Tracker,
};

/// A function of the program in which a thread was, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computes {
    function: String,
    moments: Moments,
    /// How old the last of the samples is, where that is worth a word.
    ago: Option<u64>,
}

impl fmt::Display for Computes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function, moments, ..
        } = self;
        write!(f, "computes in {function} ({}", moments.inside)?;
        if moments.inside < moments.count {
            write!(f, " of {}", moments.count)?;
        }
        write!(f, " samples")?;
        if let Some(ago) = self.ago {
            write!(f, ", {} ago", span(ago))?;
        }
        write!(f, ")")
    }
}

/// By who computes.
pub(super) fn find(tracker: &Tracker, blamer: Blamer<'_>) -> HashMap<Actor, Computes> {
    let threads = tracker.threaded().flat_map(|pid| tracker.threads(pid));
    let computes = |thread: &Thread| Some((thread.actor(), of(thread, blamer, tracker.now())?));
    threads.filter_map(computes).collect()
}

fn name(frame: &Frame) -> String {
    let name = frame.function.clone().unwrap_or_else(|| frame.place());
    let file = frame.file.as_deref().filter(|_| frame.is_managed());
    match (file, frame.line) {
        (Some(file), Some(line)) => format!("{name} ({file}:{line})"),
        (Some(file), None) => format!("{name} ({file})"),
        _ => name,
    }
}

/// What begins a thread or a program of a language runtime, by a part of the file and of the name. Who is called by
/// these alone may run a loop.
const STARTS: &[(&str, &str)] = &[
    ("/threading.py", ""),
    ("<frozen runpy>", ""),
    ("/runpy.py", ""),
    ("/multiprocessing/", ""),
    ("", "java.lang.Thread."),
    ("", "java.lang.reflect."),
    ("", "jdk.internal.reflect."),
    ("", "java.lang.invoke."),
    ("", "jdk.internal.vm."),
];

/// A runtime's own functions have called it, to do something that it did not decide itself.
fn is_called_back(callers: &[Frame]) -> bool {
    let starts = |frame: &Frame| {
        let file = frame.file.as_deref().unwrap_or_default();
        let function = frame.function.as_deref().unwrap_or_default();
        let is_it = |(of, name): &(&str, &str)| file.contains(of) && function.starts_with(name);
        STARTS.iter().any(is_it)
    };
    callers
        .iter()
        .any(|frame| frame.is_managed() && !starts(frame))
}

fn of(thread: &Thread, blamer: Blamer<'_>, now: u64) -> Option<Computes> {
    /// What is younger was sampled for this report.
    const OLD: u64 = 10_000_000_000;
    let runs = matches!(*decoded(thread), Wait::Running);
    let moments = thread
        .sampled
        .filter(|moments| runs && moments.are_enough())?;
    if moments.inside == 0 || idle::is_idle(thread, blamer) {
        return None;
    }
    let own = blamer(&thread.stack)?;
    let callers = thread.stack.get(own + 1..).unwrap_or_default();
    // Below the program's only function lies a loop, or a runtime, that may do anything; unless a runtime has called it.
    if own > 0 && blamer(callers).is_none() && !is_called_back(callers) {
        return None;
    }
    let frame = thread.stack.get(own)?;
    Some(Computes {
        function: name(frame),
        moments,
        ago: Some(now.saturating_sub(moments.to)).filter(|ago| *ago >= OLD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::{JAVA, PYTHON};

    fn frame(module: &str, file: &str, function: &str) -> Frame {
        Frame {
            module: Some(module.to_owned()),
            file: Some(file.to_owned()),
            function: Some(function.to_owned()),
            ..Frame::default()
        }
    }

    #[test]
    fn who_is_called_only_by_what_begins_threads_may_run_any_loop() {
        let serves = frame(
            PYTHON,
            "/usr/lib/python3.12/socketserver.py",
            "finish_request",
        );
        for (file, function) in STARTS {
            let file = format!("/lib{file}/x.py").replace("/lib<", "<");
            let name = format!("{function}run");
            let starts = frame(PYTHON, &file, &name);
            assert!(
                !is_called_back(std::slice::from_ref(&starts)),
                "{file} {name}"
            );
            assert!(is_called_back(&[serves.clone(), starts]), "{file} {name}");
        }
        assert!(!is_called_back(&[]));
        assert!(!is_called_back(&[frame("libc.so.6", "", "start_thread")]));
        let pool = frame(
            JAVA,
            "",
            "java.util.concurrent.ThreadPoolExecutor.runWorker",
        );
        assert!(is_called_back(&[pool]));
    }

    #[test]
    fn a_function_of_a_runtime_is_told_with_its_place() {
        let mut check = frame(PYTHON, "/srv/app.py", "check");
        assert_eq!(name(&check), "check (/srv/app.py)");
        check.line = Some(7);
        assert_eq!(name(&check), "check (/srv/app.py:7)");
        check.module = Some("server".to_owned());
        assert_eq!(name(&check), "check");
    }
}
