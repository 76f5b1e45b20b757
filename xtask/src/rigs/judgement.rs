//! What the program `rigs` prints of one rig, as far as the matrix needs it.

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Judgement {
    pub language: String,
    pub pairs: Vec<Pair>,
    pub twin: Vec<Pair>,
    pub lost: u64,
}

/// One finding, or its absence, beside the truth.
#[derive(Deserialize)]
pub struct Pair {
    pub expected: Option<String>,
    pub given: Option<String>,
    pub right: bool,
    pub blame: Blamed,
    /// The finding in short and its evidence.
    pub shown: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blamed {
    Unchecked,
    Nobody,
    Right,
    Wrong(String),
}

impl Pair {
    pub fn is_right(&self) -> bool {
        self.right && !matches!(self.blame, Blamed::Wrong(_))
    }
}
