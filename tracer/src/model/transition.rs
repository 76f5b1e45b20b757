//! A change of state of a socket, and who made it.

use serde::{Deserialize, Serialize};

use super::socket::Endpoints;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub at: u64,
    pub cookie: u64,
    /// When the old state began; 0 when unknown.
    pub since: u64,
    pub stack: u64,
    pub endpoints: Endpoints,
    pub netns: u32,
    pub old: u8,
    pub new: u8,
    pub shutdown: u8,
    /// No file refers to the socket any more.
    pub dead: bool,
    /// It was accepted, or opened by a process.
    #[serde(default)]
    pub has_socket: bool,
    /// It leaves `CLOSE_WAIT`; its opening was seen, and no read or write since.
    #[serde(default)]
    pub untouched: bool,
    /// Bytes that nobody has read, the FIN among them; older recordings do not tell.
    #[serde(default)]
    pub recv_q: Option<u32>,
    /// The acting task, only where the kernel context proves it.
    pub task: Option<Task>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub pid: u32,
    pub tid: u32,
    pub comm: String,
    pub exiting: bool,
    /// By a signal.
    #[serde(default)]
    pub killed: bool,
}
