//! A finding in a few plain lines, for outputs that have room for text only: summary, evidence, stack, advice.

use super::paths::Root;
use crate::model::outcome::{Fate, Finding};
use crate::model::report::{Runs, Site};
use crate::model::stack::Frame;
use crate::model::untrusted::Untrusted;

/// Frames of a stack that are told.
const FRAMES: usize = 20;

pub fn lines(finding: &Finding, root: &Root) -> Vec<String> {
    let site = &finding.site;
    let mut lines = vec![
        shown(&site.summary),
        format!(
            "sockets: {}, oldest {:.1} s",
            site.count, site.oldest_seconds
        ),
    ];
    lines.extend(
        site.evidence
            .iter()
            .map(|fact| format!("- {}", shown(fact))),
    );
    if let Some(Runs { appeared, of }) = site.runs {
        lines.push(format!("it appeared in {appeared} of {of} runs"));
    }
    if let Fate::Passes(why) = &finding.fate {
        lines.push(format!("not a failure: {}", shown(&why.because())));
    }
    if let Some(stack) = stack(site) {
        lines.push("stack, innermost call first:".to_owned());
        lines.extend(
            stack
                .iter()
                .take(FRAMES)
                .map(|frame| format!("  {}", place(frame, root))),
        );
    }
    lines.push(shown(&site.advice));
    lines.push(format!("fingerprint {}", shown(&site.fingerprint)));
    lines
}

/// The stack that tells most: the one that holds what is blamed.
pub fn stack(site: &Site) -> Option<&[Frame]> {
    let stacks = &site.stacks;
    let told = [&stacks.eof, &stacks.last_used, &stacks.opened];
    let told = told.into_iter().flatten().map(Vec::as_slice);
    let holders = stacks.holders.iter().map(|holder| holder.stack.as_slice());
    let all: Vec<&[Frame]> = told
        .chain(holders)
        .filter(|stack| !stack.is_empty())
        .collect();
    let blamed = site.blame.as_ref().map(|blame| blame.function.raw());
    let has_blamed = |stack: &&&[Frame]| {
        stack
            .iter()
            .any(|frame| frame.function.is_some() && frame.function.as_deref() == blamed)
    };
    all.iter().find(has_blamed).or(all.first()).copied()
}

pub fn place(frame: &Frame, root: &Root) -> String {
    let function = frame.function.clone().unwrap_or_else(|| frame.place());
    let file = frame.file.as_deref().map(|file| {
        let file = root.relative(file).unwrap_or_else(|| file.to_owned());
        let line = frame
            .line
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        format!(" ({file}{line})")
    });
    shown(&format!("{function}{}", file.unwrap_or_default()))
}

fn shown(text: &str) -> String {
    Untrusted::new(text).to_string()
}
