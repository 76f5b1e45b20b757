//! A failure as the person at the terminal needs it: what failed, the likely cause, what to do.

use std::fmt;

#[derive(Debug)]
pub struct Trouble {
    pub what: String,
    pub likely: String,
    pub remedy: String,
}

impl Trouble {
    /// The three parts as an error to return.
    pub fn error(
        what: impl Into<String>,
        likely: impl Into<String>,
        remedy: impl Into<String>,
    ) -> anyhow::Error {
        Self {
            what: what.into(),
            likely: likely.into(),
            remedy: remedy.into(),
        }
        .into()
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "  likely cause: {}", self.likely)?;
        write!(f, "  what to do:   {}", self.remedy)
    }
}

impl std::error::Error for Trouble {}
