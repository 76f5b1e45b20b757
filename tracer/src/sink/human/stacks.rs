//! Which stack of a site matters for its verdict, and what to call it.

use std::io;

use super::HumanOptions;
use super::frames;
use super::style::{DIM, PLAIN, Page};
use crate::model::report::{Direction, Holder, Site, StackName};
use crate::sink::telling::{frames_of, holder, telling};

const ALL: [StackName; 6] = [
    StackName::Opened,
    StackName::LastUsed,
    StackName::TakenOut,
    StackName::Eof,
    StackName::Holders,
    StackName::SiblingClose,
];

pub(super) fn write(
    page: &mut Page<'_>,
    site: &Site,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let main = telling(site);
    match main {
        Some(name) => write_one(page, "stack", site, name, true, options)?,
        // Without blame either, that line has already said so.
        None if site.blame.is_none() => {}
        None => page.labelled("stack", DIM, "none was recorded for these sockets")?,
    }
    if options.verbose {
        for name in ALL {
            if Some(name) != main && frames_of(site, name).is_some() {
                write_one(page, "also", site, name, false, options)?;
            }
        }
    }
    Ok(())
}

fn write_one(
    page: &mut Page<'_>,
    label: &str,
    site: &Site,
    name: StackName,
    mark: bool,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let Some(frames) = frames_of(site, name) else {
        return Ok(());
    };
    page.labelled(
        label,
        PLAIN,
        &format!("{}, innermost call first:", heading(site, name)),
    )?;
    let truncated = site.truncated_stacks.contains(&name);
    let blame = site.blame.as_ref().filter(|_| mark);
    frames::write(page, frames, truncated, blame, options)
}

fn heading(site: &Site, name: StackName) -> String {
    match name {
        StackName::Opened => match site.direction {
            Some(Direction::Accepted) => "where the sockets were accepted".to_owned(),
            Some(Direction::Connected) => "where the sockets were connected".to_owned(),
            Some(Direction::Unaccepted) | None => "where the sockets were opened".to_owned(),
        },
        StackName::Eof => "where the program read the peer's end-of-file".to_owned(),
        StackName::LastUsed => "where the sockets were last used".to_owned(),
        StackName::TakenOut => "where the sockets were taken out of the event loop".to_owned(),
        StackName::SiblingClose => "where other sockets from the same place were closed".to_owned(),
        StackName::Holders => holders_heading(site),
    }
}

fn holders_heading(site: &Site) -> String {
    let Some(first) = holder(site) else {
        return String::new();
    };
    let here = site
        .stacks
        .holders
        .iter()
        .filter(|other| is_same(other, first))
        .count();
    let threads = site.stacks.holders.len();
    let are = if first.goroutine.is_some() {
        "goroutines"
    } else {
        "threads"
    };
    let when = if first.samples.is_some() {
        "were when sampled"
    } else {
        "are now"
    };
    match (here, first.goroutine) {
        (0 | 1, None) if first.samples.is_some() => {
            format!(
                "where thread {} (tid {}) was when sampled",
                first.called(),
                first.tid
            )
        }
        (0 | 1, Some(id)) => format!("where goroutine {id} is now"),
        (0 | 1, None) => format!("where thread {} (tid {}) is now", first.called(), first.tid),
        (same, _) if same == threads => format!("where all {same} {are} {when}"),
        (same, _) => format!("where {same} of the {threads} {are} {when}"),
    }
}

/// What is sampled is in many places of one function.
fn is_same(one: &Holder, other: &Holder) -> bool {
    if one.samples.is_none() || other.samples.is_none() {
        return one.stack == other.stack;
    }
    let functions = |holder: &Holder| -> Vec<_> {
        let frames = holder.stack.iter();
        frames
            .map(|frame| (frame.module.clone(), frame.function.clone()))
            .collect()
    };
    functions(one) == functions(other)
}
