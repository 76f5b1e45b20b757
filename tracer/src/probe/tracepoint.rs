//! Attaches programs to classic tracepoints by number. Holds them attached; decides nothing.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::programs::ProgramFd;
use perf_event::{Builder, Counter, events::Tracepoint};
use thiserror::Error;

use super::tracefs::{Absence, Tracefs};

/// One that is attached, until it is dropped.
#[derive(Debug)]
pub struct Attachment {
    _event: Counter,
}

#[derive(Debug, Error)]
pub enum TracepointError {
    #[error("{0}, which alone knows the tracepoint's number")]
    NoTracefs(Absence),
    #[error("tracefs does not tell the tracepoint's number: {0}")]
    NoNumber(io::Error),
    #[error("the kernel refuses to open the tracepoint: {0}")]
    NotOpened(io::Error),
    #[error("the kernel refuses the program at the tracepoint: {0}")]
    NotAttached(io::Error),
}

/// What attaching needs, opened when first asked for.
#[derive(Default)]
pub struct Tracepoints {
    tracefs: Option<Result<Tracefs, Absence>>,
}

impl Tracepoints {
    pub fn attach(
        &mut self,
        program: &ProgramFd,
        category: &str,
        name: &str,
    ) -> Result<Attachment, TracepointError> {
        let tracefs = self.tracefs.get_or_insert_with(Tracefs::open);
        let tracefs = tracefs
            .as_ref()
            .map_err(|absence| TracepointError::NoTracefs(*absence))?;
        let number = tracefs
            .number(category, name)
            .map_err(TracepointError::NoNumber)?;
        // On whichever CPU the event is opened, the program runs on all: it belongs to the tracepoint
        // (kernel/trace/bpf_trace.c:perf_event_attach_bpf_prog).
        let mut event = Builder::new(Tracepoint::with_id(number))
            .any_pid()
            .one_cpu(0)
            .build()
            .map_err(TracepointError::NotOpened)?;
        event
            .set_bpf(program.as_fd().as_raw_fd())
            .and_then(|()| event.enable())
            .map_err(TracepointError::NotAttached)?;
        Ok(Attachment { _event: event })
    }
}
