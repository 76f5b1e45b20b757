//! What the tool's JSON says, as far as the checks look.

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Doctor {
    pub kernel: String,
    pub problem: Option<serde_json::Value>,
    pub hooks: Vec<Hook>,
    pub iterators: Vec<Part>,
    pub programs: Vec<Program>,
}

#[derive(Deserialize)]
pub struct Program {
    pub name: String,
    pub verified_instructions: u64,
}

#[derive(Deserialize)]
pub struct Hook {
    pub name: String,
    pub kind: String,
    pub status: String,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct Part {
    pub name: String,
    pub status: String,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct Report {
    pub hooks: Vec<Hook>,
    pub window: Window,
    pub sites: Vec<Site>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
pub struct Window {
    pub events: Events,
    pub complete: bool,
}

#[derive(Deserialize)]
pub struct Events {
    pub seen: u64,
    pub submitted: u64,
    pub received: u64,
    pub lost: u64,
}

#[derive(Deserialize)]
pub struct Site {
    pub verdict: String,
    pub count: usize,
    pub blame: Option<Blame>,
    pub stacks: Stacks,
    pub sockets: Vec<Socket>,
}

#[derive(Deserialize)]
pub struct Blame {
    pub function: String,
}

#[derive(Deserialize)]
pub struct Stacks {
    pub opened: Option<Vec<Frame>>,
}

#[derive(Deserialize)]
pub struct Frame {
    pub function: Option<String>,
}

#[derive(Deserialize)]
pub struct Socket {
    pub cookie: String,
    pub local: String,
    pub remote: String,
}

impl Report {
    /// The sites with a socket that has this port on either end.
    pub fn on_port(&self, port: u16) -> Vec<&Site> {
        let port = format!(":{port}");
        let on = |socket: &Socket| socket.local.ends_with(&port) || socket.remote.ends_with(&port);
        let sites = self.sites.iter();
        sites.filter(|site| site.sockets.iter().any(on)).collect()
    }
}

/// What must be said of a rig: the manifest of the rigs is the one list of it.
#[derive(Deserialize)]
pub struct Manifest {
    pub rigs: Vec<Rig>,
}

#[derive(Deserialize)]
pub struct Rig {
    pub name: String,
    pub verdicts: Vec<String>,
    pub count: usize,
    pub direction: String,
    pub blame: Option<RigBlame>,
}

#[derive(Deserialize)]
pub struct RigBlame {
    pub function: Option<String>,
    /// Which stack it comes from.
    pub stack: String,
}
