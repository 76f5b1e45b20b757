//! `gc-dependent`: closed only when the garbage collector runs. Proof: sockets opened at the same place
//! were closed meanwhile, all of them by the collector: on its thread, or inside its functions.

use super::{
    Answer, EvidenceSource, Explanation, Group, Rule, SocketView, explanation, siblings, yes,
};
use crate::model::{
    stack::Stack,
    verdict::{Confidence, Severity, Verdict, VerdictDoc},
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

    fn check(&self, view: &SocketView<'_>) -> Answer {
        let Some(opened) = view.socket.history.opened else {
            return Answer::No;
        };
        let mut close_counts = siblings::close_counts(view, &[opened.stack].into()).peekable();
        let all = close_counts.peek().is_some()
            && close_counts.all(|close_counts| {
                let stack = view.tracker.stack(close_counts.closed);
                stack.is_some_and(|stack| collector(stack).is_some())
            });
        if all && view.still_at_it(view.last_operation()).is_none() {
            return yes(Confidence::High, EvidenceSource::Opened);
        }
        Answer::No
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let by = group.oldest().and_then(|view| {
            let opened = siblings::opened(&group.views);
            let mut close_counts = siblings::close_counts(view, &opened);
            close_counts
                .find_map(|close_counts| collector(view.tracker.stack(close_counts.closed)?))
        });
        let mut evidence = Vec::new();
        if let Some(by) = by {
            evidence.push(format!(
                "connections opened at the same place were closed only by the garbage collector ({by}), \
                 never by the program"
            ));
        }
        evidence.push(format!(
            "{} {} for its next run; Recv-Q is {}",
            explanation::sockets(group.count()),
            explanation::agree(group.count(), "waits", "wait"),
            explanation::recv_q(group)
        ));
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{}{} {} dropped without close(); {} until the garbage collector runs",
                explanation::sockets(group.count()),
                group
                    .function()
                    .map(|name| format!(" opened in {name}"))
                    .unwrap_or_default(),
                n.were,
                explanation::agree(group.count(), "it stays", "they stay")
            ),
            evidence,
            advice: format!(
                "Close the connection where it was used (try-with-resources, `with`, defer): a collector \
                 runs when memory is short, not when descriptors are. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
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
