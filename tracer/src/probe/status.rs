//! What became of each hook, for the report and for `doctor`.

use super::hooks::Purpose;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Attached,
    /// Works, but shows less or costs more than the first choice.
    Degraded {
        reason: String,
    },
    Unavailable {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: &'static str,
    pub purpose: Purpose,
    pub kind: &'static str,
    pub state: State,
    /// It works, and is attached only while something is stuck.
    pub on_demand: bool,
}

impl Status {
    pub fn is_working(&self) -> bool {
        !matches!(self.state, State::Unavailable { .. })
    }
}
