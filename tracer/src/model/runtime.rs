//! The language runtimes whose own structures are read: for what their threads execute, and of Node.js for who
//! listens to its sockets.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is chosen by itself")]
pub struct Runtimes {
    pub python: bool,
    pub java: bool,
    pub go: bool,
    #[serde(default)]
    pub node: bool,
    #[serde(default)]
    pub ruby: bool,
    #[serde(default)]
    pub php: bool,
}

impl Runtimes {
    pub const ALL: Self = Self {
        python: true,
        java: true,
        go: true,
        node: true,
        ruby: true,
        php: true,
    };
    pub const NONE: Self = Self {
        python: false,
        java: false,
        go: false,
        node: false,
        ruby: false,
        php: false,
    };
}

impl Default for Runtimes {
    fn default() -> Self {
        Self::ALL
    }
}
