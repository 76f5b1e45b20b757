//! Why a socket is stuck, how sure that is, and how much it matters. The names are public contract;
//! what proves each verdict lives in `diagnose`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The advice every `CLOSE_WAIT` finding ends with.
pub const NOT_KEEPALIVE: &str = "Shorter TCP keepalive would not fix this: it moves the connection \
     from CLOSE_WAIT to CLOSE, out of sight of ss and netstat, and the descriptor stays open.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    NeverAccepted,
    NeverRead,
    WorkerStarvation,
    EofIgnored,
    IdlePool,
    LostReference,
    OwnerBlocked,
    EventLost,
    ReadingPaused,
    HalfCloseNotForwarded,
    InheritedFd,
    FdInFlight,
    FdLimit,
    ProcessStopped,
    SelectLimit,
    GcDependent,
    HiddenClosed,
    ClosedAtExit,
    UpstreamSilent,
    Parked,
    Unknown,
}

impl Verdict {
    pub const ALL: [Self; 21] = [
        Self::NeverAccepted,
        Self::NeverRead,
        Self::WorkerStarvation,
        Self::EofIgnored,
        Self::IdlePool,
        Self::LostReference,
        Self::OwnerBlocked,
        Self::EventLost,
        Self::ReadingPaused,
        Self::HalfCloseNotForwarded,
        Self::InheritedFd,
        Self::FdInFlight,
        Self::FdLimit,
        Self::ProcessStopped,
        Self::SelectLimit,
        Self::GcDependent,
        Self::HiddenClosed,
        Self::ClosedAtExit,
        Self::UpstreamSilent,
        Self::Parked,
        Self::Unknown,
    ];

    /// The public name, as in the JSON report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverAccepted => "never-accepted",
            Self::NeverRead => "never-read",
            Self::WorkerStarvation => "worker-starvation",
            Self::EofIgnored => "eof-ignored",
            Self::IdlePool => "idle-pool",
            Self::LostReference => "lost-reference",
            Self::OwnerBlocked => "owner-blocked",
            Self::EventLost => "event-lost",
            Self::ReadingPaused => "reading-paused",
            Self::HalfCloseNotForwarded => "half-close-not-forwarded",
            Self::InheritedFd => "inherited-fd",
            Self::FdInFlight => "fd-in-flight",
            Self::FdLimit => "fd-limit",
            Self::ProcessStopped => "process-stopped",
            Self::SelectLimit => "select-limit",
            Self::GcDependent => "gc-dependent",
            Self::HiddenClosed => "hidden-closed",
            Self::ClosedAtExit => "closed-at-exit",
            Self::UpstreamSilent => "upstream-silent",
            Self::Parked => "parked",
            Self::Unknown => "unknown",
        }
    }

    /// What happened, for someone who has never seen the name. Completes "these sockets: …".
    pub const fn title(self) -> &'static str {
        match self {
            Self::NeverAccepted => {
                "waiting in the listen queue, the program does not call accept()"
            }
            Self::NeverRead => "accepted, then forgotten before anything was read",
            Self::WorkerStarvation => "queued behind worker threads that are all blocked",
            Self::EofIgnored => "the program saw the peer hang up and did not close",
            Self::IdlePool => "a connection pool keeps connections the server already closed",
            Self::LostReference => "an error path or a dropped object skipped close()",
            Self::OwnerBlocked => "the thread that serves the connection is stuck elsewhere",
            Self::EventLost => "the event loop cannot learn that the peer hung up",
            Self::ReadingPaused => "reading is paused because the other side is too slow",
            Self::HalfCloseNotForwarded => "a proxy saw one side hang up and left the other open",
            Self::InheritedFd => "closed here, but another process still holds a copy",
            Self::FdInFlight => "passed over a unix socket and never received",
            Self::FdLimit => "accept() fails: the process is out of file descriptors",
            Self::ProcessStopped => "the process is stopped or frozen",
            Self::SelectLimit => "descriptor 1024 or above, invisible to select()",
            Self::GcDependent => "closed only when the garbage collector runs",
            Self::HiddenClosed => "closed by the kernel, but the descriptor is still open",
            Self::ClosedAtExit => "closed only because the process exited",
            Self::UpstreamSilent => "waiting for another server that does not answer",
            Self::Parked => "taken out of the event loop and not put back",
            Self::Unknown => "the cause could not be proven",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A verdict, for someone who has never heard of it.
#[derive(Clone, Copy, Debug)]
pub struct VerdictDoc {
    pub happened: &'static str,
    pub proof: &'static str,
    /// Completes "What it names: …".
    pub blamed: &'static str,
    pub remedy: &'static str,
}

/// Ordered from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Ordered from harmless to worst. Only `Leak` fails a `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Suspect,
    Leak,
}

impl Severity {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Suspect => "suspect",
            Self::Leak => "leak",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_and_serde_agree_on_the_public_name() {
        for verdict in Verdict::ALL {
            let json = serde_json::to_string(&verdict).unwrap();
            assert_eq!(json, format!("\"{verdict}\""));
            assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
            assert!(!verdict.title().is_empty());
        }
        for confidence in [Confidence::Low, Confidence::Medium, Confidence::High] {
            let json = serde_json::to_string(&confidence).unwrap();
            assert_eq!(json, format!("\"{}\"", confidence.name()));
        }
        for severity in [Severity::Info, Severity::Suspect, Severity::Leak] {
            let json = serde_json::to_string(&severity).unwrap();
            assert_eq!(json, format!("\"{}\"", severity.name()));
        }
    }

    #[test]
    fn a_leak_is_worse_than_a_suspicion() {
        assert!(Severity::Leak > Severity::Suspect && Severity::Suspect > Severity::Info);
    }
}
