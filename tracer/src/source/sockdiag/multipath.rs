//! MPTCP connections that the peer has closed (`net/mptcp/mptcp_diag.c`). Their state is not that of a TCP socket, so no
//! hook tells of it and no finding is about them: a report has to say that they are there.

use std::{fs, io, path::Path};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_sock_diag::{
    constants::{AF_INET, AF_INET6},
    inet::{SocketId, StateFlags},
};

use super::{dump, in_namespace, message};

/// How many of a namespace are in `CLOSE_WAIT`.
pub fn half_closed(namespace: &Path) -> io::Result<usize> {
    in_namespace(namespace, || {
        // Asking loads a module of the kernel, so only where there are any.
        let known = fs::read_to_string("/proc/thread-self/net/protocols")?;
        if !are_in_use(&known) {
            return Ok(0);
        }
        let mut count = 0;
        for (family, id) in [
            (AF_INET, SocketId::new_v4()),
            (AF_INET6, SocketId::new_v6()),
        ] {
            let flags = NLM_F_REQUEST | NLM_F_DUMP;
            let request = of_mptcp(message(family, id, flags, StateFlags::CLOSE_WAIT));
            dump(&request, |_| count += 1)?;
        }
        Ok(count)
    })
}

/// Its number is beyond what the request has room for, and goes into an attribute.
fn of_mptcp(mut request: Vec<u8>) -> Vec<u8> {
    const IPPROTO_MPTCP: u32 = 262;
    /// Of `include/uapi/linux/inet_diag.h`.
    const INET_DIAG_REQ_PROTOCOL: u16 = 3;
    const LENGTH: u16 = 8;
    request.extend(LENGTH.to_ne_bytes());
    request.extend(INET_DIAG_REQ_PROTOCOL.to_ne_bytes());
    request.extend(IPPROTO_MPTCP.to_ne_bytes());
    let length = (request.len() as u32).to_ne_bytes();
    if let Some(of_message) = request.first_chunk_mut() {
        *of_message = length;
    }
    request
}

/// By the columns name, size, sockets (`net/core/sock.c:proto_seq_printf`).
fn are_in_use(protocols: &str) -> bool {
    let mut lines = protocols.lines().map(|line| line.split_whitespace());
    lines.any(|mut line| {
        let is_mptcp = line.next().is_some_and(|name| name.starts_with("MPTCP"));
        let sockets = line.nth(1).and_then(|sockets| sockets.parse::<u64>().ok());
        is_mptcp && sockets.is_some_and(|sockets| sockets > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_column_is_the_number_of_sockets() {
        let table = |tcp, mptcp| {
            format!(
                "protocol  size sockets  memory press maxhdr  slab module\nMPTCPv6   2104      0      -1   NI       0   \
                 yes  kernel\nMPTCP     1960      {mptcp}      -1   NI       0   yes  kernel\nTCP  2368  {tcp}  2  no\n"
            )
        };
        assert!(are_in_use(&table(0, 3)));
        assert!(!are_in_use(&table(8, 0)));
        assert!(!are_in_use(""));
    }

    #[test]
    fn a_namespace_without_any_has_none() {
        let own = Path::new("/proc/self/ns/net");
        assert_eq!(half_closed(own).unwrap(), 0);
    }
}
