//! The language runtimes whose own structures are read for what their threads execute.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtimes {
    pub python: bool,
    pub java: bool,
    pub go: bool,
}

impl Runtimes {
    pub const ALL: Self = Self {
        python: true,
        java: true,
        go: true,
    };
    pub const NONE: Self = Self {
        python: false,
        java: false,
        go: false,
    };
}

impl Default for Runtimes {
    fn default() -> Self {
        Self::ALL
    }
}
