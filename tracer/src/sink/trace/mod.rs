//! `sockleak trace`: one line a transition, for people or as NDJSON. Meant for busy hosts: a line is
//! built in a reused buffer without going through `fmt` where it counts.

mod bytes;
mod clock;
mod ndjson;
mod text;

use std::io;

use jiff::tz::TimeZone;

use self::clock::Clock;
use self::text::Columns;
use crate::model::trace_event::TraceEvent;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// Aligned columns under a header.
    Text,
    /// One JSON object a line, times in UTC.
    Ndjson,
}

#[derive(Clone, Debug)]
pub struct TraceOptions {
    pub format: TraceFormat,
    pub redact_addrs: bool,
    /// For the time of day in the text form.
    pub time_zone: TimeZone,
}

/// Give it a buffered writer; it writes whole lines only and never flushes.
#[derive(Debug)]
pub struct TraceWriter {
    options: TraceOptions,
    clock: Clock,
    columns: Columns,
    line: Vec<u8>,
}

impl TraceWriter {
    pub fn new(options: TraceOptions) -> Self {
        let zone = match options.format {
            TraceFormat::Text => options.time_zone.clone(),
            TraceFormat::Ndjson => TimeZone::UTC,
        };
        let pattern = match options.format {
            TraceFormat::Text => "%H:%M:%S",
            TraceFormat::Ndjson => "%Y-%m-%dT%H:%M:%S",
        };
        Self {
            clock: Clock::new(zone, pattern),
            columns: Columns::default(),
            line: Vec::with_capacity(512),
            options,
        }
    }

    /// The header line; nothing for NDJSON, where every line is an object.
    pub fn write_header(&mut self, out: &mut dyn io::Write) -> io::Result<()> {
        match self.options.format {
            TraceFormat::Text => {
                self.line.clear();
                self.columns.header(&mut self.line);
                out.write_all(&self.line)
            }
            TraceFormat::Ndjson => Ok(()),
        }
    }

    pub fn write(&mut self, out: &mut dyn io::Write, event: &TraceEvent) -> io::Result<()> {
        self.line.clear();
        let redact = self.options.redact_addrs;
        match self.options.format {
            TraceFormat::Text => {
                self.columns
                    .event(&mut self.line, &mut self.clock, event, redact);
            }
            TraceFormat::Ndjson => {
                ndjson::event(&mut self.line, &mut self.clock, event, redact)?;
            }
        }
        out.write_all(&self.line)
    }
}

#[cfg(test)]
mod tests;
