//! A real haproxy in front of a rig. It serves the listener it is given as stdin, since its
//! configuration cannot ask for a port that the kernel chooses. (`-q` would put /dev/null there.)
use crate::{process, skip};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

#[derive(Debug)]
pub struct Haproxy {
    /// Where clients reach the rig through it.
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Haproxy {
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a front end");
        let address = listener.local_addr().expect("the front end's address");
        let folder = tempfile::tempdir().expect("a folder for haproxy");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(server)).expect("configure haproxy");
        let program = skip::find_program("haproxy").expect("haproxy");
        let child = Command::new(program)
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start haproxy");
        Self {
            address,
            child,
            _folder: folder,
        }
    }
}

/// Connections are passed on as they are: when its client has left, haproxy tells the rig that nothing
/// more comes, and waits for the rig to close.
fn configuration(server: SocketAddr) -> String {
    format!(
        "\
defaults
    mode tcp
    timeout connect 10s
    timeout client 5m
    timeout server 5m
frontend clients
    bind fd@0
    default_backend rig
backend rig
    server rig {server}
"
    )
}

impl Drop for Haproxy {
    /// Gone when this returns.
    fn drop(&mut self) {
        process::signal(&self.child, Signal::TERM);
        process::wait(&mut self.child, Duration::from_secs(5));
    }
}
