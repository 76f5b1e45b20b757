//! A group of facts is believed only as a whole and only for its own socket: two CPUs may write one
//! place of the table at the same moment, and no lock tells.
#![cfg(feature = "user")]

use std::mem::offset_of;

use proptest::prelude::*;
use tracer_common::{
    endpoint::Endpoints,
    table::{Entry, LastOperation, Name, OPERATION_OF_GOROUTINE, Operation, Slot},
};
use zerocopy::{FromBytes, IntoBytes};

prop_compose! {
    fn noted()(
        stack in any::<u64>(), at in any::<u64>(), sp in any::<u64>(), tgid in any::<u32>(),
        tid in 0u32..1 << 24, kind in 0u32..256, waits in any::<u32>(),
    ) -> Operation {
        Operation { stack, at, sp, tgid, tid, kind, waits }
    }
}

prop_compose! {
    fn operations()(key in any::<u64>(), noted in noted()) -> (u64, LastOperation) {
        (key, LastOperation::new(key, noted))
    }
}

prop_compose! {
    fn names()(
        key in any::<u64>(), netns in any::<u32>(), error in any::<u16>(),
        old_state in any::<u8>(), shutdown in 0u8..4, only_fin_unread in any::<bool>(),
        local_addr in any::<[u8; 16]>(), remote_addr in any::<[u8; 16]>(),
        local_port in any::<u16>(), remote_port in any::<u16>(),
        family in prop_oneof![Just(2u16), Just(10u16)],
    ) -> (u64, Name) {
        let endpoints = Endpoints {
            local_addr, remote_addr, local_port, remote_port, family, ..Endpoints::EMPTY
        };
        let entry = Entry { error, old_state, shutdown, only_fin_unread };
        (key, Name::new(key, netns, entry, endpoints))
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
    fn an_operation_says_what_was_noted(key in any::<u64>(), noted in noted()) {
        let operation = LastOperation::new(key, noted);
        prop_assert!(operation.holds(key));
        let kind = noted.kind & !OPERATION_OF_GOROUTINE;
        prop_assert_eq!((operation.tid(), operation.kind()), (noted.tid, kind));
        prop_assert_eq!(operation.is_of_goroutine(), noted.kind != kind);
        prop_assert_eq!((operation.stack, operation.at, operation.tgid), (noted.stack, noted.at, noted.tgid));
        prop_assert_eq!((operation.sp, operation.waits), (noted.sp, noted.waits));
    }

    #[test]
    fn an_operation_on_another_socket_does_not_hold((key, operation) in operations(), other in any::<u64>()) {
        prop_assert_eq!(operation.holds(other), other == key);
        // Cookies are small and count up: neighbours must not pass for each other.
        prop_assert!(!operation.holds(key ^ 1));
    }

    #[test]
    fn an_operation_with_any_bit_changed_does_not_hold(
        (key, operation) in operations(),
        bit in 0..size_of::<LastOperation>() * 8,
    ) {
        prop_assert!(!flipped(&operation, bit).unwrap().holds(key), "bit {}", bit);
    }

    /// Half of one operation and half of another, as two CPUs leave it.
    #[test]
    fn a_torn_operation_does_not_hold((key, operation) in operations(), other in noted(), word in 1..5usize) {
        let other = LastOperation::new(key, other);
        let mut bytes = operation.as_bytes().to_vec();
        bytes[word * 8..].copy_from_slice(&other.as_bytes()[word * 8..]);
        let torn = LastOperation::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(torn.holds(key), torn == operation || torn == other);
    }

    #[test]
    fn a_name_holds_for_its_socket_only((key, name) in names(), other in any::<u64>()) {
        prop_assert!(name.holds(key));
        prop_assert_eq!(name.holds(other), other == key);
        prop_assert!(!name.holds(key ^ 1));
    }

    #[test]
    fn a_name_with_any_bit_changed_does_not_hold(
        (key, name) in names(),
        bit in 0..size_of::<Name>() * 8,
    ) {
        let reserved = offset_of!(Endpoints, reserved) * 8;
        prop_assume!(!(reserved..reserved + 16).contains(&bit));
        prop_assert!(!flipped(&name, bit).unwrap().holds(key), "bit {}", bit);
    }

    /// The name one CPU began and another, for another socket, ended.
    #[test]
    fn a_torn_name_does_not_hold((key, name) in names(), (_, other) in names(), word in 1..7usize) {
        let mut bytes = name.as_bytes().to_vec();
        bytes[word * 8..].copy_from_slice(&other.as_bytes()[word * 8..]);
        let torn = Name::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(torn.holds(key), torn == name);
    }

    #[test]
    fn an_entry_survives_packing(
        error in any::<u16>(), old_state in any::<u8>(), shutdown in 0u8..4, only_fin_unread in any::<bool>(),
    ) {
        let entry = Entry { error, old_state, shutdown, only_fin_unread };
        prop_assert_eq!(Entry::unpack(entry.pack()), entry);
    }

    /// 16 ns are given up to carry the state.
    #[test]
    fn a_slot_keeps_state_and_time(key in any::<u64>(), since in any::<u64>(), state in 0u8..16) {
        let slot = Slot { key, since_state: Slot::pack(since, state) };
        prop_assert_eq!(slot.state(), state);
        prop_assert_eq!(slot.since(), since & !15);
        prop_assert!(since - slot.since() < 16);
    }
}

#[test]
fn an_empty_place_holds_for_no_socket() {
    let operation = LastOperation {
        stack: 0,
        at: 0,
        sp: 0,
        tgid: 0,
        tid_kind: 0,
        waits: 0,
        checksum: 0,
    };
    let name = Name {
        endpoints: Endpoints::EMPTY,
        netns: 0,
        entry: 0,
        checksum: 0,
    };
    for key in [0, 1, 0x9e37_79b9_7f4a_7c15, u64::MAX] {
        assert!(!operation.holds(key) && !name.holds(key), "{key:#x}");
    }
}

/// `pid_max` is at most 2^22 (include/linux/threads.h): no thread id is cut.
#[test]
fn a_thread_id_never_reaches_the_kind() {
    let by = |tid| {
        let noted = Operation {
            stack: 2,
            at: 3,
            sp: 5,
            tgid: 4,
            tid,
            kind: 3,
            waits: 6,
        };
        LastOperation::new(1, noted)
    };
    assert_eq!((by(1 << 22).tid(), by(1 << 22).kind()), (1 << 22, 3));
    assert_eq!(by(u32::MAX).kind(), 3);
}
