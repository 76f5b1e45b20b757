//! The first lines: how much is stuck, what "stuck" means, what else there is. Each sentence is true
//! on its own, so that it can be quoted in a ticket.

use std::io;

use super::HumanOptions;
use super::footer::{blind_spots, looked};
use super::style::{BOLD, GOOD, PLAIN, Page, WARNING};
use crate::model::quantity::{counted, grouped, threshold};
use crate::model::report::{Ended, Report, Site};
use crate::model::verdict::{Severity, Verdict};

pub(super) fn write(
    page: &mut Page<'_>,
    report: &Report,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    if report.sites.is_empty() {
        return write_nothing_found(page, report, options);
    }
    let places = match report.sites.len() {
        1 => String::new(),
        number => format!(" at {} places", grouped(number as u64)),
    };
    let text = format!("{}{places}: {}.", stuck(report), severities(&report.sites));
    page.paragraph(0, 0, BOLD, &text)?;
    let text = [meaning_of_stuck(report), totals(report)].join(" ");
    page.paragraph(0, 0, PLAIN, text.trim_end())?;
    if report.totals.unjudged > 0 {
        page.paragraph(0, 0, WARNING, &format!("{}.", unjudged(report)))?;
    }
    Ok(())
}

/// No clean result: what they were nobody knows.
fn unjudged(report: &Report) -> String {
    format!(
        "{} stuck{} and gone before sockleak had looked at {}",
        counted_were(report.totals.unjudged),
        for_how_long(report),
        if report.totals.unjudged == 1 {
            "it"
        } else {
            "them"
        }
    )
}

fn stuck(report: &Report) -> String {
    let number = report.totals.stuck;
    let verb = if number == 1 { "is" } else { "are" };
    let at_least = if report.window.complete {
        ""
    } else {
        "At least "
    };
    let over = |by_exit: bool| {
        let over = report
            .sites
            .iter()
            .filter_map(|site| Some((site, site.over.as_ref()?)));
        let fits = over.filter(|(site, over)| {
            let exit = site.verdict == Verdict::ClosedAtExit || over.how == Some(Ended::Exit);
            exit == by_exit
        });
        fits.map(|(site, _)| site.count).sum::<u64>()
    };
    let (ended, past) = (over(true), over(false));
    let undecided = report.totals.undecided;
    let mut parts = Vec::new();
    if number > 0 || ended + past + undecided == 0 {
        parts.push(format!(
            "{at_least}{} {verb} stuck",
            counted(number, "socket")
        ));
    }
    if undecided > 0 {
        parts.push(format!(
            "{} may be stuck{}",
            counted(undecided, "socket"),
            for_how_long(report)
        ));
    }
    if past > 0 {
        let at_least = if parts.is_empty() { at_least } else { "" };
        parts.push(format!(
            "{at_least}{} stuck and no longer",
            counted_were(past)
        ));
    }
    if ended > 0 {
        let at_least = if parts.is_empty() { at_least } else { "" };
        parts.push(format!(
            "{at_least}{} closed only by an exit",
            counted_were(ended)
        ));
    }
    parts.join(", ")
}

fn counted_were(number: u64) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("{} {verb}", counted(number, "socket"))
}

/// `2 leaks, 1 suspected leak, 1 note`.
fn severities(sites: &[Site]) -> String {
    let nouns = [
        (Severity::Leak, "leak"),
        (Severity::Suspect, "suspected leak"),
        (Severity::Info, "note"),
    ];
    let number = |severity| {
        sites
            .iter()
            .filter(|site| site.severity == severity)
            .count()
    };
    let words: Vec<String> = (nouns.into_iter())
        .map(|(severity, noun)| (number(severity) as u64, noun))
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| counted(number, noun))
        .collect();
    words.join(", ")
}

fn meaning_of_stuck(report: &Report) -> String {
    let hidden = match report.totals.hidden {
        0 => "",
        _ => " Hidden sockets were closed by the kernel, but the program still holds them.",
    };
    format!(
        "Stuck means in CLOSE_WAIT{}{}: the peer hung up and this side has not closed.{hidden}",
        for_how_long(report),
        until_an_exit(report)
    )
}

/// Of a run that was told to take what an exit closed at another age.
fn until_an_exit(report: &Report) -> String {
    let window = &report.window;
    match window.exit_age_seconds {
        exit if exit == window.min_age_seconds => String::new(),
        Some(0.0) => ", or for any time until only an exit closed it".to_owned(),
        Some(seconds) => format!(
            ", or for {} until only an exit closed it",
            threshold(seconds)
        ),
        None => String::new(),
    }
}

fn for_how_long(report: &Report) -> String {
    match report.window.min_age_seconds {
        Some(seconds) => format!(" for {} or longer", threshold(seconds)),
        None => String::new(),
    }
}

/// The totals that are not zero; nothing when all are.
fn totals(report: &Report) -> String {
    let totals = &report.totals;
    let parts: Vec<String> = [
        (totals.close_wait, "in CLOSE_WAIT"),
        (totals.unaccepted, "of them never accepted"),
        (totals.hidden, "hidden from ss and netstat"),
        (totals.suppressed, "suppressed"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", grouped(number)))
    .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("Sockets now: {}.", parts.join(", "))
    }
}

fn write_nothing_found(
    page: &mut Page<'_>,
    report: &Report,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let totals = &report.totals;
    let unplaced = totals.stuck > totals.suppressed;
    let (style, verdict) = if unplaced {
        (
            WARNING,
            format!("{}, but none could be assigned to a place.", stuck(report)),
        )
    } else if !report.window.complete {
        let lost = counted(report.window.events.lost, "event");
        (
            WARNING,
            format!("Nothing stuck was seen, but {lost} got lost: this is no clean result."),
        )
    } else if totals.unjudged > 0 {
        let text = format!("Nothing is stuck now, but {}.", unjudged(report));
        (WARNING, text)
    } else if totals.suppressed > 0 {
        (
            GOOD,
            format!(
                "Nothing is stuck but {} you suppressed.",
                counted(totals.suppressed, "socket")
            ),
        )
    } else {
        (GOOD, "Nothing is stuck.".to_owned())
    };
    page.paragraph(0, 0, style, &verdict)?;

    page.paragraph(0, 0, PLAIN, &what_was_watched(report, options, unplaced))?;
    match too_short(report) {
        None => Ok(()),
        Some(text) => page.paragraph(0, 0, WARNING, &text),
    }
}

fn what_was_watched(report: &Report, options: &HumanOptions<'_>, unplaced: bool) -> String {
    let scope = options.scope.as_deref().unwrap_or("all processes");
    let sight = match blind_spots(report) {
        0 => "nothing was out of its sight",
        _ => "what it could not see is listed below",
    };
    let other = if report.totals.suppressed > 0 {
        "other "
    } else {
        ""
    };
    let found = if unplaced || report.totals.unjudged > 0 {
        String::new()
    } else {
        format!(
            ", and no {other}socket was in CLOSE_WAIT{} (the peer hung up, this side has not closed)",
            for_how_long(report)
        )
    };
    let text = format!(
        "sockleak {}{found}; {sight}.",
        looked(report, &format!(" {scope}"))
    );
    [text, totals(report)].join(" ").trim_end().to_owned()
}

/// A leak younger than the threshold cannot show: an empty report then says little.
fn too_short(report: &Report) -> Option<String> {
    let seconds = super::footer::window_seconds(report);
    let min_age = report.window.min_age_seconds?;
    (seconds >= 1.0 && seconds < min_age).then(|| {
        format!(
            "The watch was shorter than {}, so a leak that began meanwhile could not show yet: watch \
             longer, or lower --min-age.",
            threshold(min_age)
        )
    })
}
