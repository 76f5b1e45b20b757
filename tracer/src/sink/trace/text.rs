//! The aligned form: `TIME COOKIE NETNS PID COMM LOCAL REMOTE TRANSITION IN-OLD CAUSE`. A column that
//! meets a wider value stays that wide, so the lines align again after the first long address.

use std::io::Write as _;
use std::time::Duration;

use textwrap::core::display_width;
use tracer_common::event::OUTSIDE;

use super::bytes;
use super::clock::{Clock, nanoseconds};
use crate::model::tcp_state::TcpState;
use crate::model::trace_event::TraceEvent;

const TIME: usize = 15;
const NETNS: usize = 10;
const PID: usize = 7;
/// `ESTABLISHED` is the longest name that transitions usually have.
const STATE: usize = 11;
const IN_OLD: usize = 8;
/// An escaped comm can be four times as long; such a line may stick out.
const COMM: usize = 15;

#[derive(Debug)]
pub(super) struct Columns {
    cookie: usize,
    local: usize,
    remote: usize,
}

impl Default for Columns {
    fn default() -> Self {
        // Wide enough for any IPv4 endpoint.
        Self {
            cookie: 8,
            local: 21,
            remote: 21,
        }
    }
}

impl Columns {
    pub fn header(&self, out: &mut Vec<u8>) {
        let transition = STATE + " -> ".len() + STATE;
        let (cookie, local, remote) = (self.cookie, self.local, self.remote);
        // Writing into a Vec cannot fail.
        let _ = writeln!(
            out,
            "{:TIME$}  {:cookie$}  {:NETNS$}  {:>PID$}  {:COMM$}  {:local$}  {:remote$}  \
             {:transition$}  {:>IN_OLD$}  CAUSE",
            "TIME", "COOKIE", "NETNS", "PID", "COMM", "LOCAL", "REMOTE", "OLD -> NEW", "IN OLD",
        );
    }

    pub fn event(
        &mut self,
        out: &mut Vec<u8>,
        clock: &mut Clock,
        event: &TraceEvent,
        redact: bool,
    ) {
        out.extend_from_slice(clock.second(event.at));
        out.push(b'.');
        bytes::fraction(out, nanoseconds(event.at) / 1000, 6);
        out.extend_from_slice(b"  ");

        let start = out.len();
        bytes::cookie(out, event.cookie);
        self.cookie = grown(out, start, self.cookie);
        let start = out.len();
        bytes::number(out, event.netns);
        pad(out, start, NETNS);
        owner(out, event);
        let start = out.len();
        bytes::endpoint(out, event.local);
        self.local = grown(out, start, self.local);
        let start = out.len();
        bytes::remote(out, event.remote, redact);
        self.remote = grown(out, start, self.remote);

        let start = out.len();
        state(out, event.old);
        fill(out, start, STATE);
        out.extend_from_slice(b" -> ");
        let start = out.len();
        state(out, event.new);
        pad(out, start, STATE);
        in_old(out, event.in_old);
        if let Some(cause) = event.cause {
            out.extend_from_slice(b"  ");
            out.extend_from_slice(cause.name().as_bytes());
        }
        out.push(b'\n');
    }
}

fn owner(out: &mut Vec<u8>, event: &TraceEvent) {
    let process = event.process.as_ref();
    let start = out.len();
    match process {
        Some(process) if process.pid != OUTSIDE => bytes::number(out, process.pid),
        _ => out.push(b'-'),
    }
    push_right(out, start, PID);
    out.extend_from_slice(b"  ");
    let start = out.len();
    match process {
        Some(process) => bytes::untrusted(out, &process.comm),
        None => out.push(b'-'),
    }
    pad(out, start, COMM);
}

fn state(out: &mut Vec<u8>, state: TcpState) {
    match state.display_name() {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            let _ = write!(out, "{state}");
        }
    }
}

/// `45us`, `12.3ms`, `812.3s`; `-` when the beginning of the old state was not seen.
fn in_old(out: &mut Vec<u8>, duration: Option<Duration>) {
    let start = out.len();
    match duration {
        None => out.push(b'-'),
        Some(duration) => {
            let micros = duration.as_micros();
            let (unit, per_unit) = match micros {
                0..1000 => ("us", 1),
                1000..1_000_000 => ("ms", 1000),
                _ => ("s", 1_000_000),
            };
            bytes::number(out, micros / per_unit);
            if per_unit > 1 {
                out.push(b'.');
                bytes::number(out, micros % per_unit * 10 / per_unit);
            }
            out.extend_from_slice(unit.as_bytes());
        }
    }
    push_right(out, start, IN_OLD);
}

fn columns(out: &[u8], start: usize) -> usize {
    let cell = out.get(start..).unwrap_or_default();
    if cell.is_ascii() {
        return cell.len();
    }
    std::str::from_utf8(cell).map_or(cell.len(), display_width)
}

/// Fills the cell that began at `start` up to `width`.
fn fill(out: &mut Vec<u8>, start: usize, width: usize) {
    let missing = width.saturating_sub(columns(out, start));
    out.resize(out.len() + missing, b' ');
}

/// Ends the cell, with the gap to the next.
fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    fill(out, start, width);
    out.extend_from_slice(b"  ");
}

/// Moves the text of the cell that began at `start` to the cell's right end.
fn push_right(out: &mut Vec<u8>, start: usize, width: usize) {
    let missing = width.saturating_sub(columns(out, start));
    out.splice(start..start, std::iter::repeat_n(b' ', missing));
}

/// Ends a cell of a column that keeps the width of its widest value.
fn grown(out: &mut Vec<u8>, start: usize, width: usize) -> usize {
    let width = width.max(columns(out, start));
    pad(out, start, width);
    width
}
