//! The part of `struct tcp_info` (include/uapi/linux/tcp.h) that tells whether a connection is alive. It only
//! ever grows at its end, so what lies beyond is of an older kernel.

use netlink_packet_sock_diag::inet::nlas::Nla;

use crate::model::input::{Moved, TcpFacts};

const NS_PER_MS: u64 = 1_000_000;

const RETRANSMITS: usize = 2;
const PROBES: usize = 3;
const UNACKED: usize = 24;
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECV: usize = 52;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;
const SND_WND: usize = 228;
const RCV_WND: usize = 232;

/// What has gone over it, and what else TCP counts.
pub(super) fn of(attributes: &[Nla], now: u64) -> Option<(Moved, TcpFacts)> {
    let info = attributes.iter().find_map(|attribute| match attribute {
        Nla::TcpInfo(info) => Some(info.as_slice()),
        _ => None,
    })?;
    let received = word(info, LAST_DATA_RECV)?;
    let moved = Moved {
        // The SYN of a connection that was opened here counts one (`net/ipv4/tcp_input.c:tcp_snd_una_update`).
        sent: long(info, BYTES_ACKED)?.saturating_sub(1),
        received: long(info, BYTES_RECEIVED)?,
        received_ago: u64::from(received) * NS_PER_MS,
    };
    let facts = TcpFacts {
        sent_at: moment(word(info, LAST_DATA_SENT)?, now),
        received_at: moment(received, now),
        unacked: word(info, UNACKED)?,
        probes: *info.get(PROBES)?,
        retransmits: *info.get(RETRANSMITS)?,
        receive_window: word(info, RCV_WND),
        send_window: word(info, SND_WND),
    };
    Some((moved, facts))
}

/// The kernel counts 32 bits of jiffies, of which there are up to 1000 a second: beyond half of their range a
/// difference means nothing.
fn moment(ago_ms: u32, now: u64) -> Option<u64> {
    const HALF: u32 = 1 << 31;
    (ago_ms < HALF).then(|| now.saturating_sub(u64::from(ago_ms) * NS_PER_MS))
}

fn word(info: &[u8], at: usize) -> Option<u32> {
    let four = info.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*four))
}

fn long(info: &[u8], at: usize) -> Option<u64> {
    let eight = info.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_ne_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(length: usize) -> Vec<Nla> {
        let mut info = vec![0; 240];
        info[PROBES] = 3;
        info[LAST_DATA_SENT..LAST_DATA_SENT + 4].copy_from_slice(&31_000_u32.to_ne_bytes());
        info[LAST_DATA_RECV..LAST_DATA_RECV + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        info[BYTES_RECEIVED] = 7;
        info.truncate(length);
        vec![Nla::Shutdown(0), Nla::TcpInfo(info)]
    }

    #[test]
    fn ages_become_moments_and_windows_of_older_kernels_are_unknown() {
        let now = 100_000_000_000;
        let (moved, facts) = of(&info(136), now).unwrap();
        assert_eq!(facts.sent_at, Some(69_000_000_000));
        assert_eq!(facts.received_at, None);
        assert_eq!((moved.received, facts.probes), (7, 3));
        assert_eq!((facts.receive_window, facts.send_window), (None, None));
        let (_, facts) = of(&info(240), now).unwrap();
        assert_eq!(facts.receive_window, Some(0));
    }

    #[test]
    fn without_the_attribute_or_cut_short_nothing_is_known() {
        assert_eq!(of(&[Nla::Shutdown(0)], 1), None);
        assert_eq!(of(&info(100), 1), None);
    }
}
