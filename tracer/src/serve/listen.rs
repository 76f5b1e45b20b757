//! The sockets that requests come in by, opened by the tracer with its own rights: TCP, unix, and those that
//! a service manager has opened already.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use super::message::Kind;
use crate::{exit::Explained, model::untrusted::Untrusted, options::Listen};

/// Connections that the kernel completes before they are accepted. Of one more the handshake is dropped, and its
/// client tries again after a second (`net/ipv4/tcp_ipv4.c:tcp_conn_request`); the standard library asks for 128.
/// As many as are served at once; the kernel cuts it at `net.core.somaxconn`.
const BACKLOG: i32 = 2048;

const HOSTS: &str = "/etc/hosts";

pub struct Listener {
    pub(super) kind: Kind,
    pub(super) socket: OwnedFd,
    /// As a user would write it.
    pub name: String,
    /// Only from this machine.
    pub local: bool,
    /// Removed at the end.
    path: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Who took its place meanwhile loses nothing but the name.
            let _ = fs::remove_file(path);
        }
    }
}

/// What the service manager hands over comes instead of the addresses.
pub fn open(asked: &[Listen]) -> Result<Vec<Listener>, Explained> {
    let mut listeners = inherited()?;
    if listeners.is_empty() {
        for one in asked {
            match one {
                Listen::Tcp(address) => tcp(address, &mut listeners)?,
                Listen::Unix(path) => listeners.push(unix(path)?),
            }
        }
    }
    for one in &listeners {
        // A listening socket may be asked again; where that is refused the queue stays as it was.
        let _ = rustix::net::listen(&one.socket, BACKLOG);
    }
    Ok(listeners)
}

fn tcp(address: &str, listeners: &mut Vec<Listener>) -> Result<(), Explained> {
    let found = addresses(address).map_err(|error| refused(address, &error))?;
    for one in found {
        let socket = TcpListener::bind(one).map_err(|error| refused(address, &error))?;
        listeners.push(of_tcp(socket, one));
    }
    Ok(())
}

fn addresses(address: &str) -> io::Result<Vec<SocketAddr>> {
    // An empty host is every address of this host, as in other exporters.
    let full = match address.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => address.to_owned(),
    };
    if let Ok(one) = full.parse() {
        return Ok(vec![one]);
    }
    let named = full.rsplit_once(':');
    let (host, port) = named
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .ok_or(io::ErrorKind::InvalidInput)?;
    let hosts = fs::read_to_string(HOSTS).unwrap_or_default();
    let found: Vec<SocketAddr> = named_in(&hosts, host)
        .map(|ip| SocketAddr::new(ip, port))
        .collect();
    if found.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(found)
}

/// By lines of `hosts(5)`. An own address is there; a static program has no other name service.
fn named_in<'f>(file: &'f str, host: &'f str) -> impl Iterator<Item = IpAddr> + 'f {
    let address = move |line: &str| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(host))
            .then_some(ip)
    };
    file.lines().filter_map(address)
}

fn of_tcp(socket: TcpListener, address: SocketAddr) -> Listener {
    let address = socket.local_addr().unwrap_or(address);
    Listener {
        kind: Kind::Tcp,
        socket: socket.into(),
        name: address.to_string(),
        local: address.ip().is_loopback(),
        path: None,
    }
}

/// A socket that nobody answers any more is left over from a run that was killed.
fn unix(path: &Path) -> Result<Listener, Explained> {
    let name = format!("unix:{}", Untrusted::new(path.display().to_string()));
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        let _ = fs::remove_file(path);
    }
    let socket = UnixListener::bind(path).map_err(|error| refused(&name, &error))?;
    // Who may enter its folder may ask; the report is not for everybody.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .map_err(|error| refused(&name, &error))?;
    Ok(Listener {
        kind: Kind::Unix,
        socket: socket.into(),
        name,
        local: true,
        path: Some(path.to_owned()),
    })
}

fn inherited() -> Result<Vec<Listener>, Explained> {
    let mut handed = listenfd::ListenFd::from_env();
    let wrong = |error: io::Error| {
        Explained::new(
            format!("a socket handed over by the service manager cannot be used: {error}"),
            "LISTEN_FDS names something that is no listening TCP or unix socket",
            "let the socket unit have ListenStream= only",
        )
    };
    let mut listeners = Vec::new();
    for index in 0..handed.len() {
        if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
            let address = socket.local_addr().map_err(wrong)?;
            listeners.push(of_tcp(socket, address));
        } else {
            let socket = handed.take_unix_listener(index).map_err(wrong)?;
            listeners.extend(socket.map(|socket| Listener {
                kind: Kind::Unix,
                socket: socket.into(),
                name: "a unix socket of the service manager".to_owned(),
                local: true,
                path: None,
            }));
        }
    }
    Ok(listeners)
}

fn refused(address: &str, error: &io::Error) -> Explained {
    let (cause, fix) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "another program, or another sockleak, listens there already",
            "stop it, or name another address with --web.listen-address",
        ),
        io::ErrorKind::AddrNotAvailable => (
            "this host has no such address",
            "name one that `ip address` shows, or :PORT for all",
        ),
        io::ErrorKind::PermissionDenied => (
            "the port or the folder belongs to another user",
            "name a port above 1023, or a folder that this user may write",
        ),
        io::ErrorKind::InvalidInput => (
            "an address is HOST:PORT, :PORT or unix:/PATH",
            "write for example 127.0.0.1:10435",
        ),
        io::ErrorKind::NotFound => (
            "the name is not in /etc/hosts, and no name service is asked for it",
            "name an address that `ip address` shows, or :PORT for all",
        ),
        _ => ("see the system's reason above", "check the address"),
    };
    Explained::new(format!("cannot listen on {address}: {error}"), cause, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        // Left over by a run that was killed.
        drop(UnixListener::bind(&path).unwrap());
        let asked = [
            Listen::Tcp("127.0.0.1:0".to_owned()),
            Listen::Tcp(":0".to_owned()),
            Listen::Unix(path.clone()),
        ];
        let opened = open(&asked).unwrap();
        let local: Vec<bool> = opened.iter().map(|one| one.local).collect();
        assert_eq!(local, [true, false, true]);
        assert!(std::net::TcpStream::connect(&opened[0].name).is_ok());
        assert!(UnixStream::connect(&path).is_ok());
        drop(opened);
        assert!(!path.exists());
    }

    #[test]
    fn a_name_is_an_address_of_the_file() {
        let file = "127.0.0.1 localhost me # old\n# ::2 me\n::1\tlocalhost ip6-localhost\n10.0.0.7 me\nx me\n";
        let found = |host| named_in(file, host).map(|ip| ip.to_string()).collect();
        let both: Vec<String> = found("LocalHost");
        assert_eq!(both, ["127.0.0.1", "::1"]);
        let me: Vec<String> = found("me");
        assert_eq!(me, ["127.0.0.1", "10.0.0.7"]);
        let nobody: Vec<String> = found("old");
        assert!(nobody.is_empty());
    }

    #[test]
    fn what_cannot_be_had_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        for (asked, words) in [
            (Listen::Tcp(address), "another program"),
            (Listen::Tcp("192.0.2.1:0".to_owned()), "no such address"),
            (Listen::Tcp("nonsense".to_owned()), "HOST:PORT"),
            (Listen::Tcp("localhost:web".to_owned()), "HOST:PORT"),
            (Listen::Tcp("host.invalid:0".to_owned()), "/etc/hosts"),
        ] {
            let error = open(&[asked]).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
