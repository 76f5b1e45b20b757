//! Both ends of a connection, as bytes in network order so that no side has to swap addresses.

use crate::wire;

wire! {
    /// Addresses fill the first 4 bytes for IPv4 and all 16 for IPv6; ports are host order.
    pub struct Endpoints {
        pub local_addr: [u8; 16],
        pub remote_addr: [u8; 16],
        pub local_port: u16,
        pub remote_port: u16,
        pub family: u16,
        pub reserved: u16,
    }
}

impl Endpoints {
    pub const EMPTY: Self = Self {
        local_addr: [0; 16],
        remote_addr: [0; 16],
        local_port: 0,
        remote_port: 0,
        family: 0,
        reserved: 0,
    };
}
