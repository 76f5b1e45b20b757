//! TCP states as the kernel numbers them (`include/net/tcp_states.h`, unchanged 5.10 .. 7.3).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number this version does not know is kept: a new kernel state must be visible, not a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpState {
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    NewSynRecv,
    Unknown(u8),
}

/// Indexed by kernel number minus one: state, JSON name, display name as in `ss` and `netstat`.
const NAMES: [(TcpState, &str, &str); 12] = [
    (TcpState::Established, "established", "ESTABLISHED"),
    (TcpState::SynSent, "syn_sent", "SYN_SENT"),
    (TcpState::SynRecv, "syn_recv", "SYN_RECV"),
    (TcpState::FinWait1, "fin_wait1", "FIN_WAIT1"),
    (TcpState::FinWait2, "fin_wait2", "FIN_WAIT2"),
    (TcpState::TimeWait, "time_wait", "TIME_WAIT"),
    (TcpState::Close, "close", "CLOSE"),
    (TcpState::CloseWait, "close_wait", "CLOSE_WAIT"),
    (TcpState::LastAck, "last_ack", "LAST_ACK"),
    (TcpState::Listen, "listen", "LISTEN"),
    (TcpState::Closing, "closing", "CLOSING"),
    (TcpState::NewSynRecv, "new_syn_recv", "NEW_SYN_RECV"),
];

const UNKNOWN_PREFIX: &str = "unknown_";

impl TcpState {
    pub fn from_u8(number: u8) -> Self {
        number
            .checked_sub(1)
            .and_then(|index| NAMES.get(usize::from(index)))
            .map_or(Self::Unknown(number), |(state, _, _)| *state)
    }

    pub const fn number(self) -> u8 {
        match self {
            Self::Established => 1,
            Self::SynSent => 2,
            Self::SynRecv => 3,
            Self::FinWait1 => 4,
            Self::FinWait2 => 5,
            Self::TimeWait => 6,
            Self::Close => 7,
            Self::CloseWait => 8,
            Self::LastAck => 9,
            Self::Listen => 10,
            Self::Closing => 11,
            Self::NewSynRecv => 12,
            Self::Unknown(number) => number,
        }
    }

    /// The JSON name, `close_wait`; `None` for a number this version does not know.
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|(_, name, _)| *name)
    }

    /// The name as `ss` and `netstat` print it, `CLOSE_WAIT`.
    pub fn display_name(self) -> Option<&'static str> {
        self.row().map(|(_, _, display)| *display)
    }

    fn from_name(text: &str) -> Option<Self> {
        if let Some(number) = text.strip_prefix(UNKNOWN_PREFIX) {
            return number.parse().ok().map(Self::from_u8);
        }
        NAMES
            .iter()
            .find(|(_, name, _)| *name == text)
            .map(|(state, _, _)| *state)
    }

    fn row(self) -> Option<&'static (Self, &'static str, &'static str)> {
        // `Unknown(8)` built by hand must not claim to be CLOSE_WAIT's row by number alone.
        let row = NAMES.get(usize::from(self.number()).checked_sub(1)?)?;
        (row.0 == self).then_some(row)
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.display_name() {
            Some(name) => f.pad(name),
            None => write!(f, "UNKNOWN_{}", self.number()),
        }
    }
}

impl Serialize for TcpState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => serializer.collect_str(&format_args!("{UNKNOWN_PREFIX}{}", self.number())),
        }
    }
}

impl<'de> Deserialize<'de> for TcpState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_name(&text).ok_or_else(|| serde::de::Error::custom("not a TCP state name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_both_ways() {
        for number in 0..=u8::MAX {
            let state = TcpState::from_u8(number);
            assert_eq!(state.number(), number);
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<TcpState>(&json).unwrap(), state);
        }
    }

    #[test]
    fn names_are_those_of_the_tools_people_know() {
        assert_eq!(TcpState::from_u8(8).name(), Some("close_wait"));
        assert_eq!(TcpState::from_u8(8).to_string(), "CLOSE_WAIT");
        assert_eq!(TcpState::from_u8(13).to_string(), "UNKNOWN_13");
        assert_eq!(
            serde_json::to_string(&TcpState::Unknown(0)).unwrap(),
            "\"unknown_0\""
        );
    }
}
