//! The report as one JSON document: the public contract, described by docs/report.schema.json.

pub(crate) mod escape;

use std::io;

use serde::Serialize as _;

use self::escape::Escaping;
use crate::model::report::Report;

/// Pretty-printed, ended by a newline. A closed pipe comes back as `ErrorKind::BrokenPipe`.
pub fn write_report(out: &mut dyn io::Write, report: &Report) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Escaping::pretty());
    // The kind of the writer's own errors survives this conversion.
    report.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples;

    struct ClosedPipe;

    impl io::Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_stays_recognisable() {
        let error = write_report(&mut ClosedPipe, &samples::nothing_found()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_report() {
        for (name, report) in samples::all() {
            let mut out = Vec::new();
            write_report(&mut out, &report).unwrap();
            assert!(out.ends_with(b"}\n"));
            assert_eq!(
                serde_json::from_slice::<Report>(&out).unwrap(),
                report,
                "{name}"
            );
        }
    }

    #[test]
    fn printed_to_a_terminal_it_cannot_drive_it() {
        let mut out = Vec::new();
        write_report(&mut out, &samples::hostile_names()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let bad = |c| c != '\n' && crate::model::untrusted::is_unsafe_to_show(c);
        assert!(!text.contains(bad));
        assert!(text.contains("\\u202egpj") && text.contains("\\u009b31m"));
    }
}
