//! The threads that hold a site's sockets or keep them from being served, and what they do now.

use std::io;

use super::HumanOptions;
use super::style::{DIM, PLAIN, Page};
use crate::model::quantity::{age, counted};
use crate::model::report::{Holder, Site};
use crate::model::stack::Frame;
use crate::model::untrusted::Untrusted;
use crate::model::verdict::Verdict;

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
        page.labelled(label, PLAIN, &describe(holder, site.verdict, options))?;
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

fn describe(holder: &Holder, verdict: Verdict, options: &HumanOptions<'_>) -> String {
    let name = if let Some(id) = holder.goroutine {
        format!("goroutine {id} of {}[{}]", holder.comm, holder.pid)
    } else if holder.tid == 0 {
        // A task.
        format!("{} of {}[{}]", holder.called(), holder.comm, holder.pid)
    } else if holder.pid == holder.tid {
        format!("{}[{}]", holder.called(), holder.pid)
    } else {
        format!("{} (tid {})", holder.called(), holder.tid)
    };
    if verdict == Verdict::InheritedFd {
        let fd = holder
            .fd
            .map(|fd| format!(" as fd {fd}"))
            .unwrap_or_default();
        return format!("{name}{fd}");
    }
    let waits = holder
        .waits_for
        .as_ref()
        .filter(|_| holder.goroutine.is_some() || holder.tid == 0);
    let doing = waits
        .map(|waits| format!("waiting for {}", waits.text))
        .or_else(|| sampled(holder, options))
        .or_else(|| doing(holder))
        .map(|text| format!(", {text}"))
        .unwrap_or_default();
    let fd = holder
        .fd
        .map(|fd| format!(" on fd {fd}"))
        .unwrap_or_default();
    let since = holder
        .since_seconds
        .map(|since| format!(" for {}", age(since)));
    format!("{name}{doing}{fd}{}", since.unwrap_or_default())
}

/// Where it was on a CPU, and how often it was met there.
fn sampled(holder: &Holder, options: &HumanOptions<'_>) -> Option<String> {
    let samples = counted(u64::from(holder.samples?), "sample");
    let mut own = holder.stack.iter();
    let own = own.find(|frame| (options.is_application)(frame));
    let name = |frame: &Frame| frame.function.clone().unwrap_or_else(|| frame.place());
    Some(match own {
        Some(frame) => format!("on CPU in {} ({samples})", Untrusted::new(name(frame))),
        None => format!("on CPU ({samples})"),
    })
}

/// The state letter of /proc/PID/stat in words.
fn doing(holder: &Holder) -> Option<String> {
    let text = match (holder.state, holder.syscall.as_deref()) {
        (Some('T' | 't'), _) => "stopped".to_owned(),
        (Some('Z' | 'X'), _) => "dead".to_owned(),
        (Some('D'), Some(syscall)) => format!("in {syscall}(), which cannot be interrupted"),
        (Some('D'), None) => "in a wait that cannot be interrupted".to_owned(),
        (Some('R'), Some(syscall)) => format!("running in {syscall}()"),
        (Some('R'), None) => "running".to_owned(),
        (_, Some(syscall)) => format!("waiting in {syscall}()"),
        (Some('S'), None) => "waiting".to_owned(),
        (Some(letter), None) => format!("in state {letter}"),
        (None, None) => return None,
    };
    Some(text)
}
