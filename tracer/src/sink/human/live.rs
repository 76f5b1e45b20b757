//! What `sockleak watch` prints while it runs: a line when a site is first flagged, and the text of
//! the status line. Drawing over the old status line is the caller's job.

use std::io;
use std::time::Duration;

use jiff::Timestamp;

use super::HumanOptions;
use super::fit::elide_middle;
use super::site::{blamed_in_short, named, severity_word};
use super::style::{self, BOLD, DIM, PLAIN, Page};
use crate::model::quantity::{age, counted, grouped, threshold};
use crate::model::report::{Direction, Site};

/// `13:05:12  LEAK  eof-ignored  17 sockets  leaky-server[4242]  handle_client (src/conn.c:42)`
pub fn write_site_found(
    out: &mut dyn io::Write,
    site: &Site,
    at: Timestamp,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let page = &mut Page::new(out, options.color, options.width);
    let time = at
        .to_zoned(options.time_zone.clone())
        .strftime("%H:%M:%S")
        .to_string();
    let process = site
        .process
        .as_ref()
        .map_or_else(|| "no process seen".to_owned(), named);
    // Without a function, where the sockets are is what tells two sites of a process apart.
    let place = match &site.blame {
        Some(blame) => blamed_in_short(blame),
        None => where_it_is(site),
    };
    let line = format!(
        "{}  {}  {}  {}  {}  {}",
        page.paint(DIM, &time),
        page.paint(style::severity(site.severity), severity_word(site.severity)),
        page.paint(BOLD, site.verdict.name()),
        page.paint(PLAIN, &counted(site.count, "socket")),
        page.paint(PLAIN, &process),
        page.paint(BOLD, &place),
    );
    page.line(line.trim_end())?;
    page.flush()
}

/// A service's address: a client's own port says nothing.
fn where_it_is(site: &Site) -> String {
    let at_listener = matches!(
        site.direction,
        Some(Direction::Accepted | Direction::Unaccepted)
    );
    match (&site.local, site.peers.as_slice(), site.ports.as_slice()) {
        (Some(local), ..) if at_listener => format!("on {local}"),
        (None, _, [port]) if at_listener => format!("on port {port}"),
        (None, _, ports) if at_listener => format!("on {} ports", ports.len()),
        (_, [peer], [port]) if site.direction.is_some() => format!("to {peer}, port {port}"),
        (_, [peer], _) => format!("with {peer}"),
        (_, peers, _) => format!("with {} peers", peers.len()),
    }
}

/// The numbers of the status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub elapsed: Duration,
    pub min_age: Duration,
    pub close_wait: u64,
    pub stuck: u64,
    pub sites: u64,
    pub events: u64,
    pub lost: u64,
}

/// One line without a newline, cut to `width` columns: a line that wraps cannot be redrawn.
pub fn status_line(progress: &Progress, width: usize) -> String {
    let text = format!(
        "watching {} · {} in CLOSE_WAIT, {} stuck ≥ {} · {} · {}, {} lost",
        age(progress.elapsed.as_secs() as f64),
        grouped(progress.close_wait),
        grouped(progress.stuck),
        threshold(progress.min_age.as_secs_f64()),
        counted(progress.sites, "site"),
        counted(progress.events, "event"),
        grouped(progress.lost),
    );
    elide_middle(&text, width)
}
