//! What the standard streams are: width, colour, and the one line that is redrawn.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
};

use rustix::termios;

/// Colour for stdout or a file: `NO_COLOR`, `CLICOLOR_FORCE` and dumb terminals are honoured.
pub fn color(to_file: bool) -> bool {
    !to_file && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

pub fn width() -> usize {
    const DEFAULT: usize = 100;
    [
        termios::tcgetwinsize(io::stdout()),
        termios::tcgetwinsize(io::stderr()),
    ]
    .into_iter()
    .flatten()
    .map(|size| usize::from(size.ws_col))
    .find(|columns| *columns > 0)
    .unwrap_or(DEFAULT)
}

/// Can the terminal erase a line? One that is called dumb, or nothing, prints the codes for it.
fn obeys(term: Option<OsString>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// A line on stderr that is drawn over itself; nothing at all when stderr is no terminal that can.
pub struct StatusLine {
    on: bool,
    drawn: bool,
}

impl StatusLine {
    pub fn new() -> Self {
        Self {
            on: io::stderr().is_terminal() && obeys(std::env::var_os("TERM")),
            drawn: false,
        }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    pub fn draw(&mut self, text: &str) {
        if self.on {
            // A terminal that has gone away is no reason to stop tracing.
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            self.drawn = true;
        }
    }

    /// Makes room for ordinary output.
    pub fn clear(&mut self) {
        if self.drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.drawn = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_gets_no_line_that_is_redrawn() {
        assert!(obeys(Some("xterm".into())));
        assert!(
            ![None, Some("".into()), Some("dumb".into())]
                .into_iter()
                .any(obeys)
        );
    }
}
