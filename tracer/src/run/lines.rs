//! Lines for a log that a CI system reads: none of them may be taken for one of its commands, whatever a
//! traced process is called.

use std::io::{self, Write};

/// GitHub Actions obeys a line that begins with `::`, spaces aside, or holds `##[`.
pub(super) struct Disarmed<W: Write> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Disarmed<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            line: Vec::new(),
        }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.to.write_all(&disarmed(&line))
    }
}

fn disarmed(line: &[u8]) -> Vec<u8> {
    let mut safe = Vec::with_capacity(line.len() + 2);
    if line.trim_ascii_start().starts_with(b"::") {
        safe.extend(b"| ");
    }
    for (place, byte) in line.iter().enumerate() {
        if line
            .get(place..)
            .is_some_and(|rest| rest.starts_with(b"#["))
        {
            safe.push(b' ');
        }
        safe.push(*byte);
    }
    safe
}

impl<W: Write> Write for Disarmed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend(piece);
            if piece.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    /// What has no end yet may still become a command.
    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_a_command() {
        let mut out = Vec::new();
        let mut lines = Disarmed::new(&mut out);
        lines.write_all(b"one\n  ::error ti").unwrap();
        lines.write_all(b"tle=x::y\nab::c ##[add-mask]d").unwrap();
        lines.flush().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "one\n|   ::error title=x::y\nab::c # #[add-mask]d"
        );
    }
}
