//! Why Java threads keep the kernel's short names and have no Java frames. Quotes nothing that the
//! traced process wrote.

use std::time::Duration;

use thiserror::Error;

use crate::model::input::Warning;

/// A sentence for the report: what is missing, why, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Java names and frames of process {pid}'s threads are missing: {why}")]
pub struct Refusal {
    pub pid: u32,
    pub why: Why,
}

impl From<Refusal> for Warning {
    fn from(refusal: Refusal) -> Self {
        Self::new("jvm-not-asked", &refusal.pid, refusal.to_string())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Why {
    #[error(
        "its attach mechanism is switched off (-XX:+DisableAttachMechanism): start it without that \
         option"
    )]
    Disabled,
    #[error(
        "it publishes no performance data (-XX:-UsePerfData or -XX:+PerfDisableSharedMem), so nothing \
         proves that it may be asked: run `jcmd {pid} Thread.print` once, which opens its attach socket"
    )]
    Unproven { pid: u32 },
    #[error("it does not catch SIGQUIT (-Xrs), with which a request begins: start it without that")]
    NotCaught,
    #[error("it is stopped or frozen, and could not answer")]
    Stopped,
    #[error("it runs as another user, and sockleak may not act as that one: run sockleak as root")]
    OtherUser,
    #[error(
        "the /proc here is that of another pid namespace than sockleak's own, so its process ids may mean \
         other processes: mount a /proc of its own, or run it on the host"
    )]
    ForeignProc,
    #[error("{path} in its file system is not its own: remove it and see who made it")]
    Foreign { path: String },
    #[error(
        "its attach socket was removed from its /tmp while it runs: exclude /tmp/.java_pid* from the \
         cleaning of /tmp and restart it"
    )]
    SocketRemoved,
    #[error("it did not answer within {} ms: it may be overloaded, collecting garbage or frozen", .0.as_millis())]
    Silent(Duration),
    #[error("its answer is longer than {} MiB: threads further down in it are left out", .0 >> 20)]
    TooLong(usize),
    #[error("its answer is no thread dump")]
    Nonsense,
    #[error("cannot {doing}: {reason}")]
    Failed { doing: &'static str, reason: String },
    #[error(
        "{0} other Java virtual machines were just asked: --pid narrows down whose threads are looked at"
    )]
    TooMany(usize),
}

impl Why {
    pub(super) fn failed(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Self::Failed {
            doing,
            reason: errno.to_string(),
        }
    }
}
