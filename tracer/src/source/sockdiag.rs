//! Open connections by `sock_diag` (`net/ipv4/inet_diag.c`): queues, cookie and what TCP counts of sockets that
//! are not stuck themselves, but may be why others are. And whether it could end them.

mod facts;
pub mod multipath;

use std::{io, net::SocketAddr, os::unix::fs::MetadataExt, path::Path, sync::OnceLock, thread};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use tracer_common::state::SYN_SENT;

use crate::{
    model::{input::Connection, socket::Endpoints},
    probe::{host::mono_now_ns, netns},
};

/// The kernel answers in pieces of at most this size (`net/netlink/af_netlink.c:netlink_dump`).
const ANSWER: usize = 32 * 1024;

/// The connections of the namespace of `pid` that are open in both directions, closed by this side only, or not accepted
/// yet, as far as `wanted` wants them.
pub fn read(pid: u32, wanted: impl Fn(&Connection) -> bool + Send) -> io::Result<Vec<Connection>> {
    let path = format!("/proc/{pid}/ns/net");
    list(Path::new(&path), wanted, |_| true)
}

/// Those of a namespace that show a sign of danger.
pub fn endangered(namespace: &Path) -> io::Result<Vec<Connection>> {
    let may_be =
        |known: &Connection| known.state != SYN_SENT && (known.recv_q > 0 || known.send_q == 0);
    list(namespace, may_be, |known| known.danger().is_some())
}

/// `wanted` is asked before what TCP counts is known, `kept` after.
fn list(
    namespace: &Path,
    wanted: impl Fn(&Connection) -> bool + Send,
    kept: impl Fn(&Connection) -> bool + Send,
) -> io::Result<Vec<Connection>> {
    in_namespace(namespace, move || {
        let netns = std::fs::metadata("/proc/thread-self/ns/net")?.ino() as u32;
        let mut found = Vec::new();
        for (family, id) in [
            (AF_INET, SocketId::new_v4()),
            (AF_INET6, SocketId::new_v6()),
        ] {
            let now = mono_now_ns();
            let states = StateFlags::ESTABLISHED
                | StateFlags::SYN_SENT
                | StateFlags::FIN_WAIT1
                | StateFlags::FIN_WAIT2;
            let request = message(family, id, NLM_F_REQUEST | NLM_F_DUMP, states);
            dump(&request, |response| {
                let connection = connection(response, netns).filter(|known| wanted(known));
                let facts = connection.and_then(|_| facts::of(&response.nlas, now));
                let connection = connection.map(|known| Connection {
                    moved: facts.map(|(moved, _)| moved),
                    tcp: facts.map(|(_, tcp)| tcp),
                    ..known
                });
                found.extend(connection.filter(|known| kept(known)));
            })?;
        }
        Ok(found)
    })
}

/// A netlink socket belongs to the namespace it was opened in, so a thread of its own goes there.
fn in_namespace<T: Send>(
    namespace: &Path,
    ask: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let there = || {
        netns::enter(namespace)?;
        ask()
    };
    thread::scope(|scope| scope.spawn(there).join())
        .map_err(|_| io::Error::other("the thread that lists connections died"))?
}

/// Can this kernel end a connection on demand? Tried with one that does not exist: the kernel looks for it
/// only where it can (`net/ipv4/inet_diag.c:inet_diag_cmd_exact`). `None` when it says something else.
pub fn can_destroy() -> Option<bool> {
    static ANSWER: OnceLock<Option<bool>> = OnceLock::new();
    *ANSWER.get_or_init(try_to_destroy)
}

fn try_to_destroy() -> Option<bool> {
    /// Of `include/uapi/linux/sock_diag.h`.
    const SOCK_DESTROY: u16 = 21;
    let mut id = SocketId::new_v4();
    // Cookies count up from 1; port 0 is nobody's.
    id.cookie = [0xfe; 8];
    let socket = connected().ok()?;
    let mut bytes = message(AF_INET, id, NLM_F_REQUEST | NLM_F_ACK, StateFlags::empty());
    let kind = bytes.get_mut(4..6)?;
    kind.copy_from_slice(&SOCK_DESTROY.to_ne_bytes());
    socket.send(&bytes, 0).ok()?;
    let mut answer = vec![0; ANSWER];
    let got = socket.recv(&mut answer.as_mut_slice(), 0).ok()?;
    let answer = answer.get(..got)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(answer).ok()?;
    let NetlinkPayload::Error(error) = answer.payload else {
        return None;
    };
    match error.to_io().raw_os_error()? {
        libc::ENOENT => Some(true),
        libc::EOPNOTSUPP => Some(false),
        _ => None,
    }
}

fn connected() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn message(family: u8, socket_id: SocketId, flags: u16, states: StateFlags) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn dump(request: &[u8], mut tell: impl FnMut(&InetResponse)) -> io::Result<()> {
    let socket = connected()?;
    socket.send(request, 0)?;
    let mut answer = vec![0; ANSWER];
    loop {
        let got = socket.recv(&mut answer.as_mut_slice(), 0)?;
        let mut rest = answer.get(..got).unwrap_or_default();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    tell(&response);
                }
                _ => {}
            }
            // Messages begin at multiples of four bytes (include/uapi/linux/netlink.h:NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4).max(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn connection(response: &InetResponse, netns: u32) -> Option<Connection> {
    let header = &response.header;
    let id = &header.socket_id;
    // Two words, the low one first (net/core/sock_diag.c:sock_diag_save_cookie).
    let (low, high) = id.cookie.split_first_chunk::<4>()?;
    let high: [u8; 4] = high.try_into().ok()?;
    Some(Connection {
        cookie: u64::from(u32::from_ne_bytes(high)) << 32 | u64::from(u32::from_ne_bytes(*low)),
        inode: u64::from(header.inode),
        endpoints: Endpoints {
            local: SocketAddr::new(id.source_address, id.source_port),
            remote: SocketAddr::new(id.destination_address, id.destination_port),
        },
        state: header.state,
        recv_q: header.recv_queue,
        send_q: header.send_queue,
        moved: None,
        netns,
        tcp: None,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use tracer_common::state::ESTABLISHED;

    use super::*;
    use crate::model::report::Danger;

    #[test]
    fn both_ends_of_a_connection_are_seen_with_their_queues_and_cookies() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"12345").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = read(std::process::id(), |connection| {
            connection.endpoints.local.port() == port || connection.endpoints.remote.port() == port
        })
        .unwrap();
        let cookie = rustix::net::sockopt::socket_cookie(&server).unwrap();
        let of_server = seen.iter().find(|seen| seen.cookie == cookie).unwrap();
        assert_eq!(
            (of_server.state, of_server.recv_q, of_server.send_q),
            (ESTABLISHED, 5, 0)
        );
        assert_eq!(of_server.endpoints.remote, client.local_addr().unwrap());
        assert_ne!(of_server.inode, 0);
        assert_eq!(seen.len(), 2);
        let own = netns::own().unwrap() as u32;
        assert!(seen.iter().all(|seen| seen.netns == own));
        let tcp = of_server.tcp.unwrap();
        assert_eq!((tcp.unacked, tcp.probes), (0, 0));
        let moved = |seen: &Connection| seen.moved.map(|moved| (moved.sent, moved.received));
        assert_eq!(moved(of_server), Some((0, 5)));
        let of_client = seen.iter().find(|seen| seen.cookie != cookie).unwrap();
        assert_eq!(moved(of_client), Some((5, 0)));
        let now = mono_now_ns();
        assert!(now - tcp.received_at.unwrap() < 2_000_000_000);
    }

    /// The window closes when nobody reads, and it is asked for again and again in vain.
    #[test]
    fn a_full_connection_has_no_window_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let chunk = vec![0; 65_536];
        let mut tries = 0;
        while tries < 20 {
            if client.write(&chunk).is_err() {
                tries += 1;
                thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        thread::sleep(std::time::Duration::from_millis(700));
        let cookie = rustix::net::sockopt::socket_cookie(&server).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = read(std::process::id(), |seen| {
            seen.endpoints.local.port() == port || seen.endpoints.remote.port() == port
        });
        let (of_server, of_client): (Vec<_>, Vec<_>) = seen
            .unwrap()
            .into_iter()
            .partition(|seen| seen.cookie == cookie);
        let (server, client) = (of_server[0].tcp.unwrap(), of_client[0].tcp.unwrap());
        if let Some(window) = server.receive_window {
            assert!(window < 65_536, "{window}");
        }
        assert!(client.probes > 0 || client.unacked > 0, "{client:?}");
        assert!(of_server[0].recv_q > 65_536);
        // No data, and so no FIN behind it, gets in; what the sender waits for is no keepalive.
        let namespace = Path::new("/proc/self/ns/net");
        let in_danger = |cookie| {
            let all = endangered(namespace).unwrap();
            let found = all.into_iter().find(|seen| seen.cookie == cookie);
            found.and_then(|seen| Some((seen.danger()?, seen.bytes_read()?)))
        };
        if server.receive_window.is_some() {
            assert_eq!(in_danger(cookie), Some((Danger::WindowClosed, 0)));
        }
        assert_eq!(in_danger(of_client[0].cookie), None);
    }

    /// Root may try; it answers one way or the other, and nothing that exists is hit.
    #[test]
    fn whether_connections_can_be_ended_is_known_to_root() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        if rustix::process::geteuid().is_root() {
            let can = can_destroy();
            assert!(can.is_some());
        }
        assert!(client.peer_addr().is_ok());
    }
}
