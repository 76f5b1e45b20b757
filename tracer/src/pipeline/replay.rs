//! `sockleak replay`: the same analysis over a recording, without any privilege.

use std::path::Path;

use super::{
    output::{self, Conclusion, Outputs},
    session,
};
use crate::{
    diagnose::{Findings, Ledger},
    exit::Explained,
    model::{input::Input, untrusted::Untrusted},
    options::Options,
    source::recording::{RecordingError, Replay},
    track::Tracker,
};

pub fn run(options: &Options, file: &Path) -> anyhow::Result<u8> {
    let explained = |error: &RecordingError| explain(file, error);
    let mut replay = Replay::open(file).map_err(|error| explained(&error))?;
    let mut tracker = Tracker::default();
    let mut ledger = Ledger::default();
    while let Some(mut input) = replay.next_input().map_err(|error| explained(&error))? {
        if let Input::RunHeader(run_header) = &mut input
            && options.min_age_given
        {
            run_header.min_age_ns = session::ns(options.min_age);
        }
        let reported = matches!(input, Input::Reported);
        tracker.apply(input);
        if reported {
            session::findings(&mut ledger, &tracker, options);
        }
    }
    let last = session::findings(&mut ledger, &tracker, options);
    let Some(Findings { report, .. }) = last else {
        return Err(explained(&RecordingError::Truncated { entry: 1 }).into());
    };
    let scope = tracker
        .run_header()
        .map(|run_header| run_header.scope.clone());
    let conclusion = Conclusion {
        report,
        scope: scope.unwrap_or_default(),
        unmatched: None,
    };
    output::deliver(conclusion, options, Outputs::open(options)?)
}

fn explain(file: &Path, error: &RecordingError) -> Explained {
    let name = Untrusted::from_bytes(file.as_os_str().as_encoded_bytes());
    let (cause, fix) = match error {
        RecordingError::Io(_) => ("the file is missing or may not be read", "check the path"),
        RecordingError::NotARecording => (
            "the file was not written by `sockleak --record`, or by a newer version",
            "name a recording, or replay it with the version that made it",
        ),
        RecordingError::Truncated { .. } => (
            "the recording was cut off: the disk was full, or sockleak was killed",
            "record again and let sockleak end by itself (--duration, Ctrl-C)",
        ),
        RecordingError::Damaged { .. } => (
            "the file changed after it was written",
            "copy it again from where it was recorded",
        ),
    };
    Explained::new(format!("cannot replay {name}: {error}"), cause, fix)
}
