//! Why a stack knows less than it could. Plain data for the report; never quotes file contents.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Each message has three parts where there is something to do: what failed, the likely cause, the
/// remedy. `module` comes from the traced process and is escaped by whoever displays it.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Warning {
    #[error("process {pid} was gone before its stack could be named: only the address is known")]
    ProcessGone { pid: u32 },
    #[error("pid {pid} now belongs to another process: only the address of the old one is known")]
    PidReused { pid: u32 },
    #[error("cannot read /proc/{pid}/maps: permission denied: run as root or grant CAP_SYS_PTRACE")]
    MapsDenied { pid: u32 },
    #[error("cannot read /proc/{pid}/maps ({reason}): its stacks stay unnamed")]
    MapsUnreadable { pid: u32, reason: String },
    #[error(
        "process {pid} has more than {limit} executable mappings: code in the others stays unnamed"
    )]
    TooManyMappings { pid: u32, limit: usize },
    #[error("{module} of process {pid} was replaced on disk: its code stays unnamed: restart it")]
    FileReplaced { pid: u32, module: String },
    #[error(
        "{module} of process {pid}, which ended at once, is gone: its code is shown as module+0xoffset: \
         keep the file until the end, as `go test -c` does"
    )]
    FileGone { pid: u32, module: String },
    #[error(
        "cannot open {module} of process {pid} ({reason}): its code stays unnamed: \
         run as root or grant CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE"
    )]
    FileUnreadable {
        pid: u32,
        module: String,
        reason: String,
    },
    #[error("{module} of process {pid} is not a usable program file ({reason})")]
    NotAProgram {
        pid: u32,
        module: String,
        reason: String,
    },
    #[error(
        "{module} has no unwind tables for some of its functions: their callers were searched for \
         on the stack and may be wrong"
    )]
    CallersSearched { module: String },
    #[error("names of {code} in process {pid} are not known: {remedy}")]
    JitUnnamed {
        pid: u32,
        code: String,
        remedy: String,
    },
    #[error(
        "functions that process {pid} executed when it touched a socket are not named: by the time they were looked up, \
         its language runtime had other code in their place"
    )]
    FunctionsChanged { pid: u32 },
    #[error(
        "the list of names that the runtime of process {pid} wrote (/tmp/perf-PID.map) is not \
         used: {reason}"
    )]
    JitListRefused { pid: u32, reason: String },
    #[error("symbols of {module} cannot be used ({reason}): its code stays unnamed")]
    SymbolsUnusable { module: String, reason: String },
    #[error(
        "the process that reads program files cannot be started ({reason}): code is shown as \
         module+0xoffset: see that /proc is mounted and processes can be started"
    )]
    HelperUnavailable { reason: String },
    #[error(
        "the process that reads program files {how} while {doing}: some code may be shown as \
         module+0xoffset: a damaged or hostile file can do this; the tracer goes on"
    )]
    HelperEnded { how: String, doing: String },
    #[error(
        "the process that reads program files failed several times and is given a rest: until then \
         code is shown as module+0xoffset"
    )]
    HelperResting,
    #[error(
        "{module} made the process that reads program files fail twice: it is not read any more: \
         its code is shown as module+0xoffset"
    )]
    FileRefused { module: String },
    #[error(
        "stacks of process {pid} made the process that reads program files fail twice: they are \
         not unwound any more: only the innermost module+0xoffset is known"
    )]
    StacksRefused { pid: u32 },
    #[error(
        "the process that reads program files is confined less than it should be, without \
         {missing}: this kernel or container does not offer it: trace only programs you would run"
    )]
    ConfinedLess { missing: String },
}

impl Warning {
    /// Its kind and what it is about, for machines.
    fn parts(&self) -> (&'static str, String) {
        match self {
            Self::ProcessGone { pid } => ("process-gone", pid.to_string()),
            Self::PidReused { pid } => ("pid-reused", pid.to_string()),
            Self::MapsDenied { pid } | Self::MapsUnreadable { pid, .. } => {
                ("mappings-unread", pid.to_string())
            }
            Self::TooManyMappings { pid, .. } => ("too-many-mappings", pid.to_string()),
            Self::FileGone { module, .. } => ("file-gone", module.clone()),
            Self::FileReplaced { module, .. } => ("file-replaced", module.clone()),
            Self::FileUnreadable { module, .. } => ("file-unread", module.clone()),
            Self::NotAProgram { module, .. } => ("not-a-program", module.clone()),
            Self::CallersSearched { module } => ("callers-searched", module.clone()),
            Self::JitUnnamed { pid, code, .. } => ("jit-unnamed", format!("{pid} {code}")),
            Self::FunctionsChanged { pid } => ("functions-changed", pid.to_string()),
            Self::JitListRefused { pid, .. } => ("jit-list-refused", pid.to_string()),
            Self::SymbolsUnusable { module, .. } => ("symbols-unusable", module.clone()),
            Self::HelperUnavailable { .. } => ("helper-unavailable", String::new()),
            Self::HelperEnded { doing, .. } => ("helper-ended", doing.clone()),
            Self::HelperResting => ("helper-resting", String::new()),
            Self::FileRefused { module } => ("file-refused", module.clone()),
            Self::StacksRefused { pid } => ("stacks-refused", pid.to_string()),
            Self::ConfinedLess { .. } => ("confined-less", String::new()),
        }
    }

    /// The helper process is in trouble now and may be well later.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::HelperUnavailable { .. } | Self::HelperEnded { .. } | Self::HelperResting
        )
    }
}

impl From<Warning> for crate::model::input::Warning {
    fn from(warning: Warning) -> Self {
        let (code, subject) = warning.parts();
        Self::new(code, &subject, warning.to_string())
    }
}
