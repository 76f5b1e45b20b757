//! The single sockets of a site, for `-v`: one line each, in columns.

use std::io;

use super::fit::padded;
use super::style::{DIM, GUTTER, PLAIN, Page};
use crate::model::quantity::{age, grouped};
use crate::model::report::{Site, Socket};

const MAX_FDS: usize = 3;

pub(super) fn write(page: &mut Page<'_>, site: &Site) -> io::Result<()> {
    if site.sockets.is_empty() {
        return Ok(());
    }
    let title = match site.sockets_omitted {
        0 => "all of them, oldest first:".to_owned(),
        omitted => format!(
            "oldest {}; {} more are not listed (--sockets-per-site):",
            site.sockets.len(),
            grouped(omitted)
        ),
    };
    page.labelled("sockets", PLAIN, &title)?;
    let mut table =
        vec![["age", "local", "remote", "state", "recv-q", "fd", "cookie"].map(str::to_owned)];
    table.extend(site.sockets.iter().map(|socket| row(socket, site)));
    let mut widths = [0; 7];
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for (nth, row) in table.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| padded(cell, width))
            .collect();
        let line = cells.join("  ");
        let style = if nth == 0 { DIM } else { PLAIN };
        page.line(format!(
            "{:GUTTER$}{}",
            "",
            page.paint(style, line.trim_end())
        ))?;
    }
    Ok(())
}

fn row(socket: &Socket, site: &Site) -> [String; 7] {
    let at_least = if socket.age_is_lower_bound {
        "≥ "
    } else {
        ""
    };
    let recv_q = socket
        .recv_q
        .map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
    [
        format!("{at_least}{}", age(socket.age_seconds)),
        socket.local.to_string(),
        socket.remote.to_string(),
        socket.state.to_string(),
        recv_q,
        fds(socket, site),
        socket.cookie.to_string(),
    ]
}

/// `7`, or `pid 77 fd 7` where the holder is not the process named above.
fn fds(socket: &Socket, site: &Site) -> String {
    let named = site.process.as_ref().map(|process| process.pid);
    let shown: Vec<String> = (socket.fds.iter().take(MAX_FDS))
        .map(|held| {
            if Some(held.pid) == named {
                held.fd.to_string()
            } else {
                format!("pid {} fd {}", held.pid, held.fd)
            }
        })
        .collect();
    match socket.fds.len() {
        0 => "none".to_owned(),
        number if number > MAX_FDS => format!("{}, …", shown.join(", ")),
        _ => shown.join(", "),
    }
}
