//! Numbers, addresses and escaped text appended to a byte buffer, without `fmt` on the common paths.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::model::untrusted::{Untrusted, is_unsafe_to_show};

pub(super) fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `digits` decimal digits, zeros in front.
pub(super) fn fraction(out: &mut Vec<u8>, mut number: u32, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    for digit in out.iter_mut().skip(start).rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

pub(super) fn cookie(out: &mut Vec<u8>, cookie: u64) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    out.extend_from_slice(b"0x");
    let nibbles = (u64::BITS - cookie.leading_zeros()).div_ceil(4).max(1);
    for nibble in (0..nibbles).rev() {
        let digit = DIGITS.get((cookie >> (nibble * 4)) as usize & 0xf);
        out.push(digit.copied().unwrap_or_default());
    }
}

/// As `Endpoint` displays it; a test holds the two together.
pub(super) fn endpoint(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            for (nth, octet) in ip.octets().into_iter().enumerate() {
                if nth > 0 {
                    out.push(b'.');
                }
                number(out, octet);
            }
        }
        IpAddr::V6(ip) => {
            // The shortening rules of IPv6 are std's; writing into a Vec cannot fail.
            let _ = write!(out, "[{ip}]");
        }
    }
    out.push(b':');
    number(out, address.port());
}

pub(super) fn remote(out: &mut Vec<u8>, address: SocketAddr, redact: bool) {
    if redact {
        out.extend_from_slice(b"redacted:");
        number(out, address.port());
    } else {
        endpoint(out, address);
    }
}

pub(super) fn untrusted(out: &mut Vec<u8>, text: &Untrusted) {
    if text.raw().chars().any(is_unsafe_to_show) {
        let _ = write!(out, "{text}");
    } else {
        out.extend_from_slice(text.raw().as_bytes());
    }
}
