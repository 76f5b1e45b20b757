//! `gc-dependent`: closed only when the garbage collector runs. Proof: sockets opened at the same place
//! were closed meanwhile, all of them by the collector: on its thread, or inside its functions.

use super::{Answer, Case, Group, Rule, Telling, Words, siblings, words, yes};
use crate::model::{
    stack::Stack,
    verdict::{Confidence, Lesson, Severity, Verdict},
};

pub struct GcDependent;

/// Threads of the JVM that close what the program has dropped (java.lang.ref.Finalizer, java.lang.ref.Cleaner),
/// and of Ruby and .NET. The kernel keeps 15 bytes of a name.
const THREADS: &[&str] = &[
    "Finalizer",
    "Common-Cleaner",
    "Reference Handl",
    ".NET Finalizer",
];
/// Functions of collectors: Python's cyclic one, Go's finalizers.
const FUNCTIONS: &[&str] = &[
    "gc_collect_main",
    "gc_collect_generations",
    "gc_collect_region",
    "gc_collect_young",
    "gc_collect_full",
    "_PyGC_Collect",
    "_Py_RunGC",
    "PyGC_Collect",
    "runtime.runfinq",
    "runtime.runFinalizers",
    "runtime.runCleanups",
];

impl Rule for GcDependent {
    fn verdict(&self) -> Verdict {
        Verdict::GcDependent
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let Some(opened) = case.socket.history.opened else {
            return Answer::No;
        };
        let mut closes = siblings::closes(case, &[opened.stack].into()).peekable();
        let all = closes.peek().is_some()
            && closes.all(|closes| {
                let stack = case.tracker.stack(closes.closed);
                stack.is_some_and(|stack| collector(stack).is_some())
            });
        if all && case.still_at_it(case.last_touch()).is_none() {
            return yes(Confidence::High, Telling::Opened);
        }
        Answer::No
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let by = group.oldest().and_then(|case| {
            let opened = siblings::opened(&group.cases);
            let mut closes = siblings::closes(case, &opened);
            closes.find_map(|closes| collector(case.tracker.stack(closes.closed)?))
        });
        let mut evidence = Vec::new();
        if let Some(by) = by {
            evidence.push(format!(
                "connections opened at the same place were closed only by the garbage collector ({by}), \
                 never by the program"
            ));
        }
        evidence.push(format!(
            "{} wait for its next run; Recv-Q is {}",
            words::sockets(group.count()),
            words::recv_q(group)
        ));
        evidence.extend(words::age_evidence(group));
        Words {
            summary: format!(
                "{}{} were dropped without close(); they stay until the garbage collector runs",
                words::sockets(group.count()),
                group
                    .function()
                    .map(|name| format!(" opened in {name}"))
                    .unwrap_or_default()
            ),
            evidence,
            advice: format!(
                "Close the connection where it was used (try-with-resources, `with`, defer): a collector \
                 runs when memory is short, not when descriptors are. {}",
                words::NOT_KEEPALIVE
            ),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            happened: "The program drops connections without closing them. The garbage collector closes \
                       them when it happens to run, so their number rises and falls; when memory is \
                       plentiful it does not run for hours.",
            proof: "Connections opened at the same place were closed meanwhile, and every such close() was \
                    made by the collector: on its finalizer or cleaner thread, or inside its functions.",
            blamed: "the function that opened the connection",
            remedy: "Close explicitly on every path: try-with-resources in Java, `with` in Python, defer \
                     in Go.",
        }
    }
}

/// The collector's thread or function, if this stack is a collector's.
fn collector(stack: &Stack) -> Option<String> {
    let thread = stack
        .thread
        .as_deref()
        .filter(|name| THREADS.contains(name));
    if let Some(name) = thread {
        return Some(format!("thread {name}"));
    }
    let mut names = stack
        .frames
        .iter()
        .filter_map(|frame| frame.function.as_deref());
    names
        .find(|name| FUNCTIONS.contains(name))
        .map(str::to_owned)
}
