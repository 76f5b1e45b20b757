//! What a verdict means, for `sockleak explain`.

use std::io;

use super::style::{BOLD, PLAIN, Page};
use crate::model::verdict::{Verdict, VerdictDoc};

pub fn write_verdict_doc(
    out: &mut dyn io::Write,
    verdict: Verdict,
    verdict_doc: &VerdictDoc,
    (color, width): (bool, usize),
) -> io::Result<()> {
    let page = &mut Page::new(out, color, width);
    let heading = format!("{verdict}: {}", verdict.title());
    page.paragraph(0, 2, BOLD, &heading)?;
    page.blank()?;
    let parts = [
        ("happened", verdict_doc.happened),
        ("proof", verdict_doc.proof),
        ("blames", verdict_doc.blamed),
        ("do", verdict_doc.remedy),
    ];
    for (label, text) in parts {
        page.labelled(label, PLAIN, text)?;
    }
    let mut terms = TERMS.iter().filter(|(term, _)| {
        let said = [
            heading.as_str(),
            verdict_doc.happened,
            verdict_doc.proof,
            verdict_doc.blamed,
            verdict_doc.remedy,
        ];
        said.iter().any(|text| text.contains(term))
    });
    if let Some((term, meaning)) = terms.next() {
        page.blank()?;
        page.labelled("terms", PLAIN, &format!("{term}: {meaning}"))?;
        for (term, meaning) in terms {
            page.labelled("", PLAIN, &format!("{term}: {meaning}"))?;
        }
    }
    page.flush()
}

/// For those who do not deal with sockets every day.
const TERMS: &[(&str, &str)] = &[
    (
        "CLOSE_WAIT",
        "the state of a connection whose other side has hung up while this side has not closed it",
    ),
    (
        "FIN",
        "the message by which one side of a connection says that it will send nothing more",
    ),
    (
        "Recv-Q",
        "bytes that have arrived and that the program has not read; a FIN counts one byte",
    ),
    (
        "Send-Q",
        "bytes the program has written that the other side has not taken yet",
    ),
    (
        "descriptor",
        "the number by which a process knows an open file or connection; it may have only so many",
    ),
    (
        "epoll",
        "the kernel's list of what an event loop wants to hear of; EPOLLIN and EPOLLRDHUP report a hang-up",
    ),
    (
        "accept queue",
        "connections the kernel has completed and the program has not taken with accept() yet",
    ),
    (
        "inode",
        "the number a socket has once a process has it; a connection nobody accepted has none",
    ),
    (
        "shutdown()",
        "ends one direction of a connection and leaves the descriptor open",
    ),
    (
        "keepalive",
        "probes by which the kernel finds out that the other side of an idle connection is gone",
    ),
];
