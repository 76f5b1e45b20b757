//! The NDJSON form. Only `comm` can hold anything that needs JSON escapes.

use std::io;
use std::time::Duration;

use serde::Serialize as _;
use tracer_common::event::OUTSIDE;

use super::bytes;
use super::clock::{Clock, nanoseconds};
use crate::model::tcp_state::TcpState;
use crate::model::trace_event::TraceEvent;
use crate::sink::json::escape::Escaping;

pub(super) fn event(
    out: &mut Vec<u8>,
    clock: &mut Clock,
    event: &TraceEvent,
    redact: bool,
) -> io::Result<()> {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(clock.second(event.at));
    out.push(b'.');
    bytes::fraction(out, nanoseconds(event.at), 9);
    out.extend_from_slice(b"Z\",\"cookie\":\"");
    bytes::cookie(out, event.cookie);
    out.extend_from_slice(b"\",\"netns\":");
    bytes::number(out, event.netns);
    owner(out, event)?;
    out.extend_from_slice(b",\"local\":\"");
    bytes::endpoint(out, event.local);
    out.extend_from_slice(b"\",\"remote\":\"");
    bytes::remote(out, event.remote, redact);
    out.extend_from_slice(b"\",\"old\":");
    state(out, event.old)?;
    out.extend_from_slice(b",\"new\":");
    state(out, event.new)?;
    out.extend_from_slice(b",\"seconds_in_old\":");
    seconds(out, event.in_old);
    out.extend_from_slice(b",\"cause\":");
    match event.cause {
        None => out.extend_from_slice(b"null"),
        Some(cause) => {
            out.push(b'"');
            out.extend_from_slice(cause.name().as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn owner(out: &mut Vec<u8>, event: &TraceEvent) -> io::Result<()> {
    let Some(process) = &event.process else {
        out.extend_from_slice(b",\"pid\":null,\"tid\":null,\"comm\":null");
        return Ok(());
    };
    if process.pid == OUTSIDE {
        out.extend_from_slice(b",\"pid\":null,\"tid\":null");
    } else {
        out.extend_from_slice(b",\"pid\":");
        bytes::number(out, process.pid);
        out.extend_from_slice(b",\"tid\":");
        bytes::number(out, process.tid);
    }
    out.extend_from_slice(b",\"comm\":");
    let mut serializer = serde_json::Serializer::with_formatter(out, Escaping::compact());
    process
        .comm
        .serialize(&mut serializer)
        .map_err(io::Error::from)
}

fn state(out: &mut Vec<u8>, state: TcpState) -> io::Result<()> {
    match state.name() {
        Some(name) => {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
            Ok(())
        }
        None => serde_json::to_writer(out, &state).map_err(io::Error::from),
    }
}

fn seconds(out: &mut Vec<u8>, duration: Option<Duration>) {
    match duration {
        None => out.extend_from_slice(b"null"),
        Some(duration) => {
            bytes::number(out, duration.as_secs());
            out.push(b'.');
            bytes::fraction(out, duration.subsec_micros(), 6);
        }
    }
}
