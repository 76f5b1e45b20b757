//! What the kernel tells of the code that processes have in memory, as it changes.

use std::ops::Range;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChange {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at: u64,
    pub pid: u32,
    pub what: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Mapped(MappedCode),
    /// The process begins with all that its parent has.
    Forked {
        parent: u32,
    },
    /// Nothing is mapped any more, and another program is about to be. One thread is left.
    Executed,
    ThreadBegan,
    /// The last one ends the process.
    ThreadEnded,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedCode {
    pub range: Range<u64>,
    /// In the file.
    pub offset: u64,
    /// As the process itself would name it.
    pub path: PathBuf,
    pub identity: FileIdentity,
}

/// What proves that a file opened later is the one that was mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileIdentity {
    /// There is no file.
    None,
    /// In hexadecimal, of which the kernel tells at most 20 bytes.
    BuildId(String),
    /// Device (major, minor) and inode.
    Inode((u32, u32), u64),
}
