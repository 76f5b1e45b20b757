//! The parts of a report that are weighed.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
pub struct Said {
    pub sites: Vec<Site>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Site {
    pub verdict: String,
    pub confidence: String,
    pub severity: String,
    pub summary: String,
    pub evidence: Vec<String>,
    pub advice: String,
    pub count: u64,
    pub blame: Option<Frame>,
    #[serde(default)]
    pub stacks: Stacks,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Frame {
    pub function: Option<String>,
    pub module: Option<String>,
    pub file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Stacks {
    pub opened: Option<Vec<Frame>>,
    pub eof: Option<Vec<Frame>>,
    pub last_used: Option<Vec<Frame>>,
    #[serde(default)]
    pub taken_out: Option<Vec<Frame>>,
    pub sibling_close: Option<Vec<Frame>>,
    #[serde(default)]
    pub holders: Vec<Holder>,
}

#[derive(Debug, Deserialize)]
pub struct Holder {
    #[serde(default)]
    pub stack: Vec<Frame>,
}
