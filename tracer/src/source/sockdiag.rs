//! Open connections by `sock_diag` (`net/ipv4/inet_diag.c`): both queues and the cookie of sockets that
//! are not stuck themselves, but may be why others are.

use std::{io, net::SocketAddr, path::Path, thread};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use crate::{
    model::{
        input::{Connection, Moved},
        socket::Endpoints,
    },
    probe::netns,
};

/// The kernel answers in pieces of at most this size (`net/netlink/af_netlink.c:netlink_dump`).
const ANSWER: usize = 32 * 1024;

/// The connections of the namespace of `pid` that are open in both directions, or closed by this side
/// only, as far as `wanted` wants them.
pub fn read(pid: u32, wanted: impl Fn(&Connection) -> bool + Send) -> io::Result<Vec<Connection>> {
    // A netlink socket belongs to the namespace it was opened in, so a thread of its own goes there.
    let there = move || {
        netns::enter(Path::new(&format!("/proc/{pid}/ns/net")))?;
        let mut found = Vec::new();
        for (family, id) in [
            (AF_INET, SocketId::new_v4()),
            (AF_INET6, SocketId::new_v6()),
        ] {
            dump(family, id, |response| {
                found.extend(connection(response).filter(&wanted));
            })?;
        }
        Ok(found)
    };
    thread::scope(|scope| scope.spawn(there).join())
        .map_err(|_| io::Error::other("the thread that lists connections died"))?
}

fn dump(family: u8, id: SocketId, mut tell: impl FnMut(&InetResponse)) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::ESTABLISHED | StateFlags::FIN_WAIT1 | StateFlags::FIN_WAIT2,
        socket_id: id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
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

fn connection(response: &InetResponse) -> Option<Connection> {
    let header = &response.header;
    let info = response.nlas.iter().find_map(|attribute| match attribute {
        Nla::TcpInfo(info) => moved(info),
        _ => None,
    });
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
        moved: info,
    })
}

/// Fields of `struct tcp_info` (`include/uapi/linux/tcp.h`), which only ever grows at its end.
fn moved(info: &[u8]) -> Option<Moved> {
    const LAST_DATA_RECV: usize = 52;
    const BYTES_ACKED: usize = 120;
    const BYTES_RECEIVED: usize = 128;
    let wide = |at: usize| Some(u64::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let milliseconds = u32::from_ne_bytes(*info.get(LAST_DATA_RECV..)?.first_chunk()?);
    Some(Moved {
        // The SYN of a connection that was opened here counts one (net/ipv4/tcp_input.c:tcp_snd_una_update).
        sent: wide(BYTES_ACKED)?.saturating_sub(1),
        received: wide(BYTES_RECEIVED)?,
        received_ago: u64::from(milliseconds) * 1_000_000,
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
        let moved = |seen: &Connection| seen.moved.map(|moved| (moved.sent, moved.received));
        assert_eq!(moved(of_server), Some((0, 5)));
        let of_client = seen.iter().find(|seen| seen.cookie != cookie).unwrap();
        assert_eq!(moved(of_client), Some((5, 0)));
        assert_eq!(seen.len(), 2);
    }
}
