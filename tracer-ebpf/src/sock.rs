//! `struct sock` in the field's own words: `sock.state()`, `sock.endpoints()`.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock};
use tracer_common::{
    config::{OTHER_CGROUP, PSEUDO_COOKIE},
    endpoint::Endpoints,
    state::{AF_INET6, IPPROTO_TCP, RCV_SHUTDOWN},
};

use crate::{
    globals::{self as g, Offset, Optional},
    kread::{Mode, Probed, Ptr, Typed},
};

pub struct Sock<M>(pub Ptr<M>);

impl<M> Clone for Sock<M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<M> Copy for Sock<M> {}

impl Sock<Typed> {
    #[inline(always)]
    pub fn new(sk: *const c_void) -> Self {
        Self(Ptr::new(sk))
    }

    /// The socket's cookie, made now if it has none yet (net/core/sock_diag.c:__sock_gen_cookie).
    #[inline(always)]
    pub fn cookie(self) -> u64 {
        let cookie = self.stored_cookie();
        if cookie != 0 {
            return cookie;
        }
        if g::HAS_COOKIE.load() != 0 {
            // SAFETY: the argument is a typed socket pointer, as the helper demands.
            return unsafe { bpf_get_socket_cookie(self.0.raw().cast_mut()) };
        }
        // The verifier allows no arithmetic on a typed pointer; a copy of its bytes is a number.
        let sk = self.0.raw();
        let address = Ptr::<Probed>::new((&raw const sk).cast()).word();
        address | PSEUDO_COOKIE
    }

    /// The full TCP socket, or `None` for request and TIME_WAIT sockets.
    #[inline(always)]
    pub fn tcp(self) -> Option<Ptr<Typed>> {
        // SAFETY: the argument is a typed socket pointer, as the helper demands.
        let tp = unsafe { bpf_skc_to_tcp_sock(self.0.raw().cast_mut()) };
        if tp.is_null() {
            None
        } else {
            Some(Ptr::new(tp.cast()))
        }
    }

    /// `struct socket`, or null. By another pointer to the same socket: wherever a program loads a pointer through one
    /// that the verifier trusts, it searches all type information of the kernel for a name, anew on every path
    /// (kernel/bpf/verifier.c:btf_nested_type_is_trusted, since 6.4).
    #[inline(always)]
    pub fn file_socket(self) -> Ptr<Typed> {
        match self.tcp() {
            Some(tp) => Sock(tp).socket(),
            None => Ptr::NULL,
        }
    }

    /// Inode number of the network namespace, the same way.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        match self.tcp() {
            Some(tp) => Sock(tp).netns(),
            None => 0,
        }
    }

    /// Endpoints that survive the release of the local port: `inet_sport` keeps it.
    #[inline(always)]
    pub fn endpoints(self) -> Endpoints {
        let mut endpoints = self.addresses();
        if endpoints.local_port == 0
            && let Some(tp) = self.tcp()
        {
            endpoints.local_port = u16::from_be(tp.field(&g::OFF_INET_SPORT));
        }
        endpoints
    }

    /// Bytes that nobody has read. close() throws data away and leaves these numbers (net/ipv4/tcp.c:__tcp_close).
    #[inline(always)]
    pub fn unread(self) -> u32 {
        match self.tcp() {
            Some(tp) => {
                let received: u32 = tp.field(&g::OFF_TP_RCV_NXT);
                received.wrapping_sub(tp.field::<u32>(&g::OFF_TP_COPIED_SEQ))
            }
            None => 0,
        }
    }

    /// Did the last read take the FIN? Then the application has been told EOF
    /// (net/ipv4/tcp.c:tcp_recvmsg_locked, `found_fin_ok`).
    #[inline(always)]
    pub fn fin_was_read(self) -> bool {
        if self.shutdown() & RCV_SHUTDOWN == 0 {
            return false;
        }
        match self.tcp() {
            Some(tp) => {
                tp.field::<u32>(&g::OFF_TP_RCV_NXT) == tp.field::<u32>(&g::OFF_TP_COPIED_SEQ)
            }
            None => false,
        }
    }
}

impl<M: Mode> Sock<M> {
    #[inline(always)]
    pub fn stored_cookie(self) -> u64 {
        self.0.field(&g::OFF_SKC_COOKIE)
    }

    /// Identity where only a cookie made earlier, or none, can be had.
    #[inline(always)]
    pub fn known_cookie(self) -> u64 {
        let cookie = self.stored_cookie();
        if cookie == 0 && g::HAS_COOKIE.load() == 0 {
            return self.0.addr() | PSEUDO_COOKIE;
        }
        cookie
    }

    #[inline(always)]
    pub fn is_tcp(self) -> bool {
        self.0.field::<u16>(&g::OFF_SK_PROTOCOL) == IPPROTO_TCP
    }

    #[inline(always)]
    pub fn state(self) -> u8 {
        self.0.field(&g::OFF_SKC_STATE)
    }

    #[inline(always)]
    pub fn shutdown(self) -> u8 {
        self.0.field(&g::OFF_SK_SHUTDOWN)
    }

    /// Number of the cgroup of who made the socket (include/linux/cgroup-defs.h:sock_cgroup_data, a plain pointer
    /// since 5.15), or 0.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        let absent = |offset: &Optional| offset.get().is_none();
        if absent(&g::OFF_SK_CGROUP) || absent(&g::OFF_CGROUP_KN) || absent(&g::OFF_KN_ID) {
            return OTHER_CGROUP;
        }
        let node = self.0.follow(&g::OFF_SK_CGROUP).follow(&g::OFF_CGROUP_KN);
        node.field(&g::OFF_KN_ID)
    }

    /// The pending error (`sk_err`), an errno; 0 is none.
    #[inline(always)]
    pub fn error(self) -> u16 {
        self.0.field::<u32>(&g::OFF_SK_ERR) as u16
    }

    /// `SOCK_DEAD` (include/net/sock.h: bit 0): the last file reference is gone.
    #[inline(always)]
    pub fn is_dead(self) -> bool {
        self.0.field::<u64>(&g::OFF_SKC_FLAGS) & 1 != 0
    }

    #[inline(always)]
    pub fn family(self) -> u16 {
        self.0.field(&g::OFF_SKC_FAMILY)
    }

    /// Host order; 0 once the port was given back (net/ipv4/inet_hashtables.c:inet_put_port).
    #[inline(always)]
    pub fn local_port(self) -> u16 {
        self.0.field(&g::OFF_SKC_NUM)
    }

    /// Local port in host order, also after it was given back. The pointer must be of a full TCP
    /// socket as `tcp()` gives it: `inet_sport` lies outside `struct sock`.
    #[inline(always)]
    pub fn sport(self) -> u16 {
        u16::from_be(self.0.field(&g::OFF_INET_SPORT))
    }

    #[inline(always)]
    pub fn remote_port(self) -> u16 {
        u16::from_be(self.0.field(&g::OFF_SKC_DPORT))
    }

    #[inline(always)]
    pub fn socket(self) -> Ptr<M> {
        self.0.follow(&g::OFF_SK_SOCKET)
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        let net = self.0.follow(&g::OFF_SKC_NET);
        if net.is_null() {
            0
        } else {
            net.field(&g::OFF_NET_INUM)
        }
    }

    #[inline(always)]
    pub fn addresses(self) -> Endpoints {
        let family = self.family();
        let (local_addr, remote_addr) = if family == AF_INET6 {
            (
                self.address(&g::OFF_SKC_V6_SADDR),
                self.address(&g::OFF_SKC_V6_DADDR),
            )
        } else {
            (
                widen(self.0.field(&g::OFF_SKC_SADDR)),
                widen(self.0.field(&g::OFF_SKC_DADDR)),
            )
        };
        Endpoints {
            local_addr,
            remote_addr,
            local_port: self.local_port(),
            remote_port: self.remote_port(),
            family,
            reserved: 0,
        }
    }

    /// An IPv6 address, in the two loads the verifier accepts for a 16-byte field.
    #[inline(always)]
    fn address(self, offset: &impl Offset) -> [u8; 16] {
        let words: [u32; 4] = self.0.words(offset);
        // SAFETY: both are 16 bytes of plain data.
        unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
    }
}

#[inline(always)]
fn widen(v4: u32) -> [u8; 16] {
    let words = [v4, 0, 0, 0];
    // SAFETY: both are 16 bytes of plain data.
    unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
}
