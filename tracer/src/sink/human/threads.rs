//! The threads that hold a site's sockets or keep them from being served, and what they do now.

use std::io;

use super::HumanOptions;
use super::style::{DIM, PLAIN, Page};
use crate::model::report::{Holder, Site};
use crate::model::verdict::Verdict;
use crate::sink::quantity::{age, counted};

const MAX_SHOWN: usize = 5;

/// For most verdicts the holders are the owner's ordinary threads and tell nothing.
fn label(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::InheritedFd => Some("held by"),
        Verdict::NeverAccepted
        | Verdict::WorkerStarvation
        | Verdict::OwnerBlocked
        | Verdict::EventLost
        | Verdict::ReadingPaused
        | Verdict::ProcessStopped => Some("threads"),
        _ => None,
    }
}

pub(super) fn write(
    page: &mut Page<'_>,
    site: &Site,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let shown = if options.verbose {
        usize::MAX
    } else {
        MAX_SHOWN
    };
    let Some(mut label) = label(site.verdict).or(options.verbose.then_some("threads")) else {
        return Ok(());
    };
    for holder in site.stacks.holders.iter().take(shown) {
        page.labelled(label, PLAIN, &describe(holder, site.verdict))?;
        label = "";
    }
    match site.stacks.holders.len().saturating_sub(shown) {
        0 => Ok(()),
        more => {
            let text = format!("… {} (-v shows all)", counted(more as u64, "more thread"));
            page.labelled("", DIM, &text)
        }
    }
}

fn describe(holder: &Holder, verdict: Verdict) -> String {
    let mut text = if holder.pid == holder.tid {
        format!("{}[{}]", holder.comm, holder.pid)
    } else {
        format!("{} (tid {})", holder.comm, holder.tid)
    };
    if verdict == Verdict::InheritedFd {
        if let Some(fd) = holder.fd {
            text.push_str(&format!(" as fd {fd}"));
        }
        return text;
    }
    let doing = match (holder.state, holder.syscall.as_deref()) {
        (Some('T' | 't'), _) => "stopped".to_owned(),
        (Some('D'), Some(syscall)) => format!("in uninterruptible wait in {syscall}()"),
        (Some('D'), None) => "in uninterruptible wait".to_owned(),
        (Some('R'), None) => "running on a CPU".to_owned(),
        (Some('Z' | 'X'), _) => "dead".to_owned(),
        (_, Some(syscall)) => format!("waiting in {syscall}()"),
        (Some('S'), None) => "waiting".to_owned(),
        (state, None) => state
            .map(|letter| format!("state {letter}"))
            .unwrap_or_default(),
    };
    if !doing.is_empty() {
        text.push_str(&format!(", {doing}"));
    }
    if let Some(fd) = holder.fd {
        text.push_str(&format!(" on fd {fd}"));
    }
    if let Some(seconds) = holder.since_seconds {
        text.push_str(&format!(" for {}", age(seconds)));
    }
    text
}
