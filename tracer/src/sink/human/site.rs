//! The block of one site: what, how much, who, where, why, and what to change.

use std::io;

use super::HumanOptions;
use super::fit::{fit_path, fit_symbol};
use super::style::{self, BOLD, GUTTER, PLAIN, Page};
use super::{sockets, stacks, threads};
use crate::model::quantity::{age, agree, counted, grouped, growth};
use crate::model::report::{Blame, Direction, Ended, Over, Process, Site};
use crate::model::untrusted::Untrusted;
use crate::model::verdict::{NOT_KEEPALIVE, Severity};
use crate::sink::telling::telling;

const MAX_PEERS: usize = 3;
const SHORT_NAME: usize = 60;
const SHORT_PATH: usize = 40;

pub(super) fn write(
    page: &mut Page<'_>,
    site: &Site,
    options: &HumanOptions<'_>,
    keepalive_told: &mut bool,
) -> io::Result<()> {
    write_title(page, site)?;
    page.labelled("", PLAIN, &size(site))?;
    page.labelled("", PLAIN, &site.summary)?;
    if let Some(over) = &site.over {
        page.labelled("over", BOLD, &how_it_ended(over, options))?;
    }
    page.labelled("process", PLAIN, &process(site, options))?;
    page.labelled("network", PLAIN, &network(site))?;
    match &site.blame {
        Some(blame) => {
            // Three lines hold any name a person wrote; some compilers write longer ones.
            let longest = if options.verbose {
                usize::MAX
            } else {
                3 * page.room(GUTTER)
            };
            let library = blame.library.as_ref();
            let library = library.map(|name| format!("library: {name}, "));
            let listener = listened_by(site);
            let library = library.unwrap_or_default();
            let text = format!("{listener}{library}{}", blamed(blame, longest));
            page.labelled("blame", BOLD, &text)?;
        }
        None => page.labelled("blame", PLAIN, no_blame(site))?,
    }
    let mut label = "evidence";
    for fact in &site.evidence {
        page.bullet(label, PLAIN, fact)?;
        label = "";
    }
    threads::write(page, site, options)?;
    stacks::write(page, site, options)?;
    let advice = once(&site.advice, keepalive_told);
    if !advice.is_empty() {
        page.labelled("fix", PLAIN, &advice)?;
    }
    let mut label = "relief";
    for command in site.relief.iter().flat_map(|relief| relief.split("; ")) {
        page.whole(label, command)?;
        label = "";
    }
    if options.verbose {
        sockets::write(page, site)?;
        page.labelled("site id", PLAIN, &site.id)?;
    }
    Ok(())
}

/// It was on no stack.
fn listened_by(site: &Site) -> String {
    let listeners = site.listeners.as_ref();
    let event = listeners.and_then(|listeners| listeners.blamed.as_deref());
    event.map_or_else(String::new, |event| format!("listens for '{event}': "))
}

/// True of every finding, and enough to read once.
fn once(advice: &str, told: &mut bool) -> String {
    if !advice.contains(NOT_KEEPALIVE) {
        return advice.to_owned();
    }
    if !std::mem::replace(told, true) {
        return advice.to_owned();
    }
    let rest = advice.replace(NOT_KEEPALIVE, "");
    rest.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn no_blame(site: &Site) -> &'static str {
    let own = [
        &site.stacks.opened,
        &site.stacks.eof,
        &site.stacks.last_used,
    ];
    match telling(site) {
        Some(_) if own.iter().all(|stack| stack.is_none()) => {
            "no function: nobody was seen using these sockets; the stack below is what the process does now"
        }
        Some(_) => "no function: the stack below shows none of the program's own",
        None => "no function: no stack was recorded for these sockets",
    }
}

fn write_title(page: &mut Page<'_>, site: &Site) -> io::Result<()> {
    let severity = severity_word(site.severity);
    let gap = GUTTER.saturating_sub(severity.len());
    let (name, title) = (site.verdict.name(), site.verdict.title());
    let fits = name.len() + 2 + title.len() <= page.room(GUTTER);
    let head = if fits {
        format!("{name}: {title}")
    } else {
        format!("{name}:")
    };
    let line = format!(
        "{}{:gap$}{}",
        page.paint(style::severity(site.severity), severity),
        "",
        page.paint(BOLD, &head),
    );
    page.line(line)?;
    if fits {
        Ok(())
    } else {
        page.labelled("", BOLD, title)
    }
}

pub(super) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Leak => "LEAK",
        Severity::Suspect => "SUSPECT",
        Severity::Info => "INFO",
    }
}

fn size(site: &Site) -> String {
    let oldest = match (site.age_is_lower_bound, site.age_seconds_at_most) {
        (true, Some(most)) if age(most) == age(site.oldest_seconds) => age(most),
        (true, Some(most)) => format!("between {} and {}", age(site.oldest_seconds), age(most)),
        (true, None) => format!("at least {}", age(site.oldest_seconds)),
        (false, _) => age(site.oldest_seconds),
    };
    format!(
        "{} · oldest {oldest} · {} · {} confidence",
        counted(site.count, "socket"),
        growth(site.growth_per_minute),
        site.confidence.name()
    )
}

/// The rest of the block says what was known while the sockets were stuck.
fn how_it_ended(over: &Over, options: &HumanOptions<'_>) -> String {
    let how = match over.how {
        Some(Ended::Closed) => "closed by the program",
        Some(Ended::Exit) => "closed only by the exit of the process",
        Some(Ended::Reset) => "reset, or nobody listened any more",
        None => "not stuck any more; nothing told how they ended",
    };
    let at = over.ended.to_zoned(options.time_zone.clone());
    format!(
        "{how}, at {}; stuck for at most {}",
        at.strftime("%H:%M:%S"),
        age(over.longest_seconds)
    )
}

fn process(site: &Site, options: &HumanOptions<'_>) -> String {
    let Some(process) = &site.process else {
        return format!("none seen that holds {}", agree(site.count, "it", "them"));
    };
    let others = match site.processes {
        0 | 1 => String::new(),
        2 => " and 1 other process".to_owned(),
        number => format!(" and {} other processes", grouped(u64::from(number) - 1)),
    };
    let mut parts = vec![format!("{}{others}", named(process))];
    // Where there is neither unit nor container the service is the comm again.
    let service = process
        .service
        .iter()
        .filter(|service| **service != process.comm);
    parts.extend(service.map(Untrusted::to_string));
    if options.verbose {
        parts.extend(process.exe.iter().map(Untrusted::to_string));
    }
    parts.extend(process.cmdline.iter().map(Untrusted::to_string));
    parts.join(" · ")
}

pub(super) fn named(process: &Process) -> String {
    format!("{}[{}]", process.comm, process.pid)
}

fn network(site: &Site) -> String {
    let peers = peers(site);
    let local = site.local.map(|local| local.to_string());
    match (site.direction, local) {
        (Some(Direction::Accepted), Some(local)) => format!("accepted on {local} from {peers}"),
        (Some(Direction::Accepted), None) if site.ports.len() > 1 => {
            format!(
                "accepted on {} ports from {peers}",
                grouped(site.ports.len() as u64)
            )
        }
        (Some(Direction::Accepted), None) => format!("accepted from {peers}"),
        (Some(Direction::Connected), _) => format!("connected to {peers}{}", services(site)),
        (Some(Direction::Unaccepted), Some(local)) => {
            format!("in the listen queue of {local}, from {peers}")
        }
        (Some(Direction::Unaccepted), None) => format!("in a listen queue, from {peers}"),
        (None, Some(local)) => format!("on {local} with {peers}"),
        (None, None) => format!("with {peers}"),
    }
}

/// The far ports: they say which service was asked.
fn services(site: &Site) -> String {
    let shown: Vec<String> = site
        .ports
        .iter()
        .take(MAX_PEERS)
        .map(u16::to_string)
        .collect();
    match site.ports.len() {
        0 => String::new(),
        1 => format!(", port {}", shown.join("")),
        number if number > MAX_PEERS => format!(
            ", ports {} and {} more",
            shown.join(", "),
            grouped((number - MAX_PEERS) as u64)
        ),
        _ => format!(", ports {}", shown.join(", ")),
    }
}

fn peers(site: &Site) -> String {
    let shown: Vec<String> = site
        .peers
        .iter()
        .take(MAX_PEERS)
        .map(ToString::to_string)
        .collect();
    match site.peers.len() {
        0 => "unknown peers".to_owned(),
        number if number > MAX_PEERS => {
            format!(
                "{} and {} more",
                shown.join(", "),
                grouped((number - MAX_PEERS) as u64)
            )
        }
        _ => shown.join(", "),
    }
}

/// `handle_client (src/conn.c:42)`; without a source line the module, and the build if unnamed.
fn blamed(blame: &Blame, longest: usize) -> String {
    let function = fit_symbol(&blame.function.to_string(), longest);
    let inlined = if blame.inlined { ", inlined" } else { "" };
    let unnamed = blame.function.raw().contains("+0x");
    match (&blame.file, blame.line, &blame.module, &blame.build_id) {
        (Some(file), Some(line), ..) => format!("{function} ({file}:{line}{inlined})"),
        (Some(file), None, ..) => format!("{function} ({file}{inlined})"),
        (None, _, _, Some(build)) if unnamed => {
            format!("{function} (no symbols; build-id {build})")
        }
        (None, _, _, None) if unnamed => format!("{function} (no symbols)"),
        (None, _, Some(module), _) => format!("{function} (in {module}{inlined})"),
        (None, _, None, _) => function,
    }
}

/// The same where it scrolls by: name and line are enough, the report has the rest.
pub(super) fn blamed_in_short(blame: &Blame) -> String {
    let function = fit_symbol(&blame.function.to_string(), SHORT_NAME);
    match (&blame.file, blame.line) {
        (Some(file), Some(line)) => {
            format!(
                "{function} ({}:{line})",
                fit_path(&file.to_string(), SHORT_PATH)
            )
        }
        (Some(file), None) => format!("{function} ({})", fit_path(&file.to_string(), SHORT_PATH)),
        (None, _) => function,
    }
}
