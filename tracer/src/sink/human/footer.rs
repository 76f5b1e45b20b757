//! The end of the report: every way in which it knows less than it could, then one line of counts.

use std::io;

use jiff::tz::TimeZone;

use super::HumanOptions;
use super::style::{BAD, DIM, PLAIN, Page, WARNING};
use crate::model::quantity::{age, grouped};
use crate::model::report::{Hook, HookStatus, Report};

pub(super) fn write(
    page: &mut Page<'_>,
    report: &Report,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    write_blind_spots(page, report)?;
    let events = &report.window.events;
    if !report.window.complete {
        let text = format!(
            "INCOMPLETE: {} of {} events were lost and not made up for. Sites may be missing, \
             counts may be low; do not read this report as clean.",
            grouped(events.lost),
            grouped(events.seen)
        );
        page.paragraph(0, 0, BAD, &text)?;
    }
    page.paragraph(0, 0, DIM, &context(report, &options.time_zone))?;
    let style = if events.lost > 0 { WARNING } else { DIM };
    page.paragraph(0, 0, style, &last_line(report))
}

fn write_blind_spots(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let hooks: Vec<&Hook> = impaired(report).collect();
    if hooks.is_empty() && report.warnings.is_empty() {
        return Ok(());
    }
    page.paragraph(0, 0, WARNING, "What this report could not see:")?;
    for warning in &report.warnings {
        page.paragraph(2, 2, PLAIN, &format!("- {warning}"))?;
    }
    // Hooks that share a fate share a line.
    let mut fates: Vec<((HookStatus, &str), Vec<&str>)> = Vec::new();
    for hook in hooks {
        let fate = (
            hook.status,
            hook.reason.as_deref().unwrap_or("no reason known"),
        );
        match fates.iter_mut().find(|(known, _)| *known == fate) {
            Some((_, names)) => names.push(&hook.name),
            None => fates.push((fate, vec![&hook.name])),
        }
    }
    for ((status, reason), names) in fates {
        let (noun, verb) = if names.len() == 1 {
            ("hook", "is")
        } else {
            ("hooks", "are")
        };
        let names = names.join(", ");
        let text = format!("- {noun} {names} {verb} {}: {reason}", status.name());
        page.paragraph(2, 2, PLAIN, &text)?;
    }
    page.blank()
}

fn impaired(report: &Report) -> impl Iterator<Item = &Hook> {
    report
        .hooks
        .iter()
        .filter(|hook| hook.status != HookStatus::Attached)
}

fn context(report: &Report, zone: &TimeZone) -> String {
    let end = report.window.end.to_zoned(zone.clone());
    let preposition = if window_seconds(report) < 1.0 {
        " at"
    } else {
        ", until"
    };
    format!(
        "sockleak {} on Linux {} · {}{preposition} {}",
        report.tool.version,
        report.host.kernel,
        looked(report, ""),
        end.strftime("%Y-%m-%d %H:%M:%S %Z")
    )
}

/// `watched all processes for 5m 00s`. A snapshot looks once: "for 0s" would sound broken.
pub(super) fn looked(report: &Report, at: &str) -> String {
    match window_seconds(report) {
        seconds if seconds < 1.0 => {
            format!("looked once{}{at}", if at.is_empty() { "" } else { " at" })
        }
        seconds => format!("watched{at} for {}", age(seconds)),
    }
}

pub(super) fn window_seconds(report: &Report) -> f64 {
    report
        .window
        .end
        .duration_since(report.window.start)
        .as_secs_f64()
}

pub(super) fn blind_spots(report: &Report) -> usize {
    impaired(report).count() + report.warnings.len() + usize::from(!report.window.complete)
}

/// Short enough for one line: the hooks that are not attached are named above it.
fn last_line(report: &Report) -> String {
    if report.hooks.is_empty() {
        return "no hooks attached: this is what the kernel's iterators listed".to_owned();
    }
    let events = &report.window.events;
    let hooks = |status| {
        report
            .hooks
            .iter()
            .filter(|hook| hook.status == status)
            .count()
    };
    let mut parts = vec![format!("hooks {} attached", hooks(HookStatus::Attached))];
    for status in [
        HookStatus::Degraded,
        HookStatus::Unavailable,
        HookStatus::Standby,
    ] {
        if hooks(status) > 0 {
            parts.push(format!("{} {}", hooks(status), status.name()));
        }
    }
    // Healthy sockets send none, so a quiet run sees none.
    let told = if events.seen == 0 {
        "no socket was reported by an event, none was lost".to_owned()
    } else {
        let (seen, lost) = (grouped(events.seen), grouped(events.lost));
        format!("events {seen} seen, {lost} lost")
    };
    format!("{told} · {}", parts.join(", "))
}
