//! `gc-dependent`: closed only when the garbage collector runs. Proof: sockets opened at the same place
//! were closed meanwhile, all of them by the collector: on its thread, or inside its functions. The same function called
//! from elsewhere, or opening by way of other library calls, proves less.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::diagnose::{context::activations::Activation, explanation, siblings};
use crate::model::{
    input::CloseCount,
    stack::Stack,
    verdict::{Severity, Verdict, VerdictDoc},
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

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let Some(opened) = view.socket.history.opened else {
            return Answer::No;
        };
        let along: Vec<CloseCount> = siblings::close_counts(view, &[opened.stack].into()).collect();
        let is_same_path = !along.is_empty();
        let closes = if is_same_path {
            along
        } else {
            siblings::close_counts_of_function(view, opened.stack)
        };
        let mut by = None;
        for close_counts in closes {
            let stack = view.tracker.stack(close_counts.closed);
            match stack.and_then(collector) {
                Some(found) => by = Some(found),
                None => return Answer::No,
            }
        }
        let Some(by) = by else {
            return Answer::No;
        };
        if matches!(view.activation(), Activation::Same(..)) {
            return Answer::No;
        }
        let looks = Looks::default()
            .look(
                !matches!(view.activation(), Activation::Possible(_)),
                "",
                "the thread that used it last is in the same function",
            )
            .look(
                is_same_path,
                "",
                "none was closed yet that was opened by the same calls",
            );
        Answer::Yes(Proof::earned(
            looks,
            EvidenceSource::Opened,
            Evidence::Collector(by),
        ))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut lines = Vec::new();
        if let Evidence::Collector(by) = evidence {
            lines.push(format!(
                "connections opened at the same place were closed only by the garbage collector ({by}), \
                 never by the program"
            ));
        }
        let mut evidence = lines;
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
