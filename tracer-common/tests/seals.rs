//! A group of facts is believed only as a whole and only for its own socket: two CPUs may write one
//! place of the table at the same moment, and no lock tells.
#![cfg(feature = "user")]

use std::mem::offset_of;

use proptest::prelude::*;
use tracer_common::{
    endpoint::Endpoints,
    table::{Entry, Name, Touch, Way},
};
use zerocopy::{FromBytes, IntoBytes};

prop_compose! {
    fn touches()(
        tag in any::<u64>(), stack in any::<u64>(), at in any::<u64>(),
        tgid in any::<u32>(), tid in 0u32..1 << 24, kind in 0u32..256,
    ) -> (u64, Touch) {
        (tag, Touch::new(tag, stack, at, tgid, tid, kind))
    }
}

prop_compose! {
    fn names()(
        tag in any::<u64>(), netns in any::<u32>(), error in any::<u16>(),
        old_state in any::<u8>(), shutdown in any::<u8>(),
        local_addr in any::<[u8; 16]>(), remote_addr in any::<[u8; 16]>(),
        local_port in any::<u16>(), remote_port in any::<u16>(),
        family in prop_oneof![Just(2u16), Just(10u16)],
    ) -> (u64, Name) {
        let ends = Endpoints {
            local_addr, remote_addr, local_port, remote_port, family, ..Endpoints::EMPTY
        };
        let entry = Entry { error, old_state, shutdown };
        (tag, Name::new(tag, netns, entry, ends))
    }
}

/// `value` with one bit of its bytes changed.
fn flipped<T: IntoBytes + FromBytes + zerocopy::Immutable>(value: &T, bit: usize) -> Option<T> {
    let mut bytes = value.as_bytes().to_vec();
    *bytes.get_mut(bit / 8)? ^= 1 << (bit % 8);
    T::read_from_bytes(&bytes).ok()
}

proptest! {
    #[test]
    fn a_touch_says_what_was_noted(
        tag in any::<u64>(), stack in any::<u64>(), at in any::<u64>(),
        tgid in any::<u32>(), tid in 0u32..1 << 24, kind in 0u32..256,
    ) {
        let touch = Touch::new(tag, stack, at, tgid, tid, kind);
        prop_assert!(touch.holds(tag));
        prop_assert_eq!((touch.tid(), touch.kind()), (tid, kind));
        prop_assert_eq!((touch.stack, touch.at, touch.tgid), (stack, at, tgid));
    }

    #[test]
    fn a_touch_of_another_socket_does_not_hold((tag, touch) in touches(), other in any::<u64>()) {
        prop_assert_eq!(touch.holds(other), other == tag);
        // Cookies are small and count up: neighbours must not pass for each other.
        prop_assert!(!touch.holds(tag ^ 1));
    }

    #[test]
    fn a_touch_with_any_bit_changed_does_not_hold(
        (tag, touch) in touches(),
        bit in 0..size_of::<Touch>() * 8,
    ) {
        prop_assert!(!flipped(&touch, bit).unwrap().holds(tag), "bit {}", bit);
    }

    /// Half of one touch and half of another, as two CPUs leave it.
    #[test]
    fn a_torn_touch_does_not_hold((tag, touch) in touches(), (_, other) in touches(), word in 1..4usize) {
        let other = Touch::new(tag, other.stack, other.at, other.tgid, other.tid(), other.kind());
        let mut bytes = touch.as_bytes().to_vec();
        bytes[word * 8..].copy_from_slice(&other.as_bytes()[word * 8..]);
        let torn = Touch::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(torn.holds(tag), torn == touch || torn == other);
    }

    #[test]
    fn a_name_holds_for_its_socket_only((tag, name) in names(), other in any::<u64>()) {
        prop_assert!(name.holds(tag));
        prop_assert_eq!(name.holds(other), other == tag);
        prop_assert!(!name.holds(tag ^ 1));
    }

    #[test]
    fn a_name_with_any_bit_changed_does_not_hold(
        (tag, name) in names(),
        bit in 0..size_of::<Name>() * 8,
    ) {
        let reserved = offset_of!(Endpoints, reserved) * 8;
        prop_assume!(!(reserved..reserved + 16).contains(&bit));
        prop_assert!(!flipped(&name, bit).unwrap().holds(tag), "bit {}", bit);
    }

    /// The name one CPU began and another, for another socket, ended.
    #[test]
    fn a_torn_name_does_not_hold((tag, name) in names(), (_, other) in names(), word in 1..7usize) {
        let mut bytes = name.as_bytes().to_vec();
        bytes[word * 8..].copy_from_slice(&other.as_bytes()[word * 8..]);
        let torn = Name::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(torn.holds(tag), torn == name);
    }

    #[test]
    fn an_entry_survives_packing(error in any::<u16>(), old_state in any::<u8>(), shutdown in any::<u8>()) {
        let entry = Entry { error, old_state, shutdown };
        prop_assert_eq!(Entry::unpack(entry.pack()), entry);
    }

    /// 16 ns are given up to carry the state.
    #[test]
    fn a_way_keeps_state_and_time(tag in any::<u64>(), since in any::<u64>(), state in 0u8..16) {
        let way = Way { tag, since_state: Way::pack(since, state) };
        prop_assert_eq!(way.state(), state);
        prop_assert_eq!(way.since(), since & !15);
        prop_assert!(since - way.since() < 16);
    }
}

#[test]
fn an_empty_place_holds_for_no_socket() {
    let touch = Touch {
        stack: 0,
        at: 0,
        tgid: 0,
        tid_kind: 0,
        seal: 0,
    };
    let name = Name {
        endpoints: Endpoints::EMPTY,
        netns: 0,
        entry: 0,
        seal: 0,
    };
    for tag in [0, 1, 0x9e37_79b9_7f4a_7c15, u64::MAX] {
        assert!(!touch.holds(tag) && !name.holds(tag), "{tag:#x}");
    }
}

/// `pid_max` is at most 2^22 (include/linux/threads.h): no thread id is cut.
#[test]
fn a_thread_id_never_reaches_the_kind() {
    let touch = Touch::new(1, 2, 3, 4, 1 << 22, 3);
    assert_eq!((touch.tid(), touch.kind()), (1 << 22, 3));
    let too_large = Touch::new(1, 2, 3, 4, u32::MAX, 3);
    assert_eq!(too_large.kind(), 3);
}
