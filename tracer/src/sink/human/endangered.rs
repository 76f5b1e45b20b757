//! After the sites: open connections that are likely to get stuck. Nothing where there are none.

use std::io;

use super::style::{PLAIN, Page, WARNING};
use crate::model::{
    quantity::counted,
    report::{AboutToBeStuck, Report},
};

/// The rest is counted.
const MAX_ENTRIES: usize = 5;

pub(super) fn write(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let all = &report.about_to_be_stuck;
    if all.is_empty() {
        return Ok(());
    }
    page.blank()?;
    page.paragraph(0, 0, WARNING, "About to be stuck:")?;
    for entry in all.iter().take(MAX_ENTRIES) {
        page.paragraph(2, 2, PLAIN, &format!("- {}", text(entry)))?;
    }
    if let Some(rest) = all.get(MAX_ENTRIES..).filter(|rest| !rest.is_empty()) {
        let sockets: u64 = rest.iter().map(|entry| entry.count).sum();
        let text = format!(
            "- … {} more (--json shows all)",
            counted(sockets, "connection")
        );
        page.paragraph(2, 2, PLAIN, &text)?;
    }
    Ok(())
}

fn text(entry: &AboutToBeStuck) -> String {
    let whose = match &entry.process {
        Some(process) => format!("{}[{}]", process.comm, process.pid),
        None => "a process that was not found".to_owned(),
    };
    let oldest = entry.sockets.first();
    let between = oldest.map_or(String::new(), |socket| {
        format!(" The longest: {} from {}.", socket.local, socket.remote)
    });
    format!("{whose}: {}.{between}", entry.summary)
}
