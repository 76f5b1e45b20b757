//! The report for a person at a terminal: sites first, worst first, then what could not be seen.
//! Decides nothing: order, words and numbers come from the report.

mod endangered;
mod fit;
mod footer;
mod frames;
mod headline;
mod live;
mod run;
mod site;
mod sockets;
mod stacks;
mod style;
mod threads;
mod verdict_doc;

use std::io;

use jiff::tz::TimeZone;

pub use live::{Progress, status_line, write_site_found};
pub use run::write_outcome;
pub use verdict_doc::write_verdict_doc;

use self::style::{BOLD, Page};
use crate::model::quantity::counted;
use crate::model::report::{Report, Site};
use crate::model::stack::Frame;

/// Nobody reads more than this many blocks in a row.
const MAX_SITES: usize = 20;

/// How to lay the report out. `--redact-addrs` is not here: see `sink::redact`.
pub struct HumanOptions<'a> {
    pub color: bool,
    /// Columns of the terminal. Prose never runs wider than 100.
    pub width: usize,
    /// Sockets, all stacks and all threads of every site.
    pub verbose: bool,
    /// Every frame, those of libraries and runtimes too.
    pub every_frame: bool,
    /// For the times of day shown; the JSON report is always UTC.
    pub time_zone: TimeZone,
    /// What was watched, when not everything: `pid 4242 and its children`.
    pub scope: Option<String>,
    /// Tells the program's own code from libc, language runtimes and the kernel.
    pub is_application: &'a dyn Fn(&Frame) -> bool,
}

pub fn write_report(
    out: &mut dyn io::Write,
    report: &Report,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let page = &mut Page::new(out, options.color, options.width);
    let mut sites: Vec<&Site> = report.sites.iter().collect();
    sites.sort_by(|a, b| a.worst_first(b));

    headline::write(page, report, options)?;
    let shown = if options.verbose {
        sites.len()
    } else {
        MAX_SITES
    };
    let mut keepalive_told = false;
    for site in sites.iter().take(shown) {
        page.blank()?;
        site::write(page, site, options, &mut keepalive_told)?;
    }
    if let Some(rest) = sites.get(shown..).filter(|rest| !rest.is_empty()) {
        let sockets: u64 = rest.iter().map(|site| site.count).sum();
        let (places, sockets) = (
            counted(rest.len() as u64, "more place"),
            counted(sockets, "socket"),
        );
        page.blank()?;
        page.paragraph(
            0,
            0,
            BOLD,
            &format!("… {places} with {sockets} (-v or --json shows all)"),
        )?;
    }
    endangered::write(page, report)?;
    page.blank()?;
    footer::write(page, report, options)?;
    page.flush()
}

#[cfg(test)]
mod tests;
