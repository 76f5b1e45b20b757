//! What is on the wire: every record survives the way through bytes, and every input of any length
//! gives a record or a named damage.
#![cfg(feature = "user")]

use proptest::prelude::*;
use tracer_common::{
    decode::{Damage, Record, record},
    event::{
        EpollControl, Eviction, Executed, Header, KIND_DESTROYED, KIND_EPOLL, KIND_EVICTION,
        KIND_EXECUTED, KIND_PROCESS, KIND_SAMPLED, KIND_STACK, KIND_TRANSITION, PAGE, Process,
        STACK_PAGES, Sampled, StackCopy, Transition,
    },
    item::SocketItem,
};
use zerocopy::{FromBytes, IntoBytes};

const HEADER: usize = size_of::<Header>();
const KINDS: [(u32, usize); 8] = [
    (KIND_TRANSITION, size_of::<Transition>()),
    (KIND_DESTROYED, size_of::<Transition>()),
    (KIND_EVICTION, size_of::<Eviction>()),
    (KIND_PROCESS, size_of::<Process>()),
    (KIND_EXECUTED, size_of::<Executed>()),
    (KIND_EPOLL, size_of::<EpollControl>()),
    (KIND_STACK, size_of::<StackCopy>()),
    (KIND_SAMPLED, size_of::<Sampled>()),
];

/// A record of `kind` whose every byte behind the header differs from its neighbours.
fn sample(kind: u32, size: usize) -> Vec<u8> {
    let header = Header {
        kind,
        len: size as u32,
        at: 0x0102_0304_0506_0708,
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend((HEADER..size).map(|at| (at % 251) as u8));
    bytes
}

fn bytes_of(record: &Record) -> Vec<u8> {
    match record {
        Record::Transition(inner) | Record::Destroyed(inner) => inner.as_bytes().to_vec(),
        Record::Eviction(inner) => inner.as_bytes().to_vec(),
        Record::Process(inner) => inner.as_bytes().to_vec(),
        Record::Executed(inner) => inner.as_bytes().to_vec(),
        Record::Epoll(inner) => inner.as_bytes().to_vec(),
        Record::Stack(inner) => inner.as_bytes().to_vec(),
        Record::Sampled(inner) => inner.as_bytes().to_vec(),
    }
}

fn kind_of(record: &Record) -> u32 {
    match record {
        Record::Transition(_) => KIND_TRANSITION,
        Record::Destroyed(_) => KIND_DESTROYED,
        Record::Eviction(_) => KIND_EVICTION,
        Record::Process(_) => KIND_PROCESS,
        Record::Executed(_) => KIND_EXECUTED,
        Record::Epoll(_) => KIND_EPOLL,
        Record::Stack(_) => KIND_STACK,
        Record::Sampled(_) => KIND_SAMPLED,
    }
}

#[test]
fn every_record_survives_the_way_through_bytes() {
    for (kind, size) in KINDS {
        let bytes = sample(kind, size);
        let decoded = record(&bytes).unwrap();
        assert_eq!(kind_of(&decoded), kind);
        assert_eq!(bytes_of(&decoded), bytes, "kind {kind}");
    }
}

#[test]
fn a_record_cut_anywhere_is_damage() {
    for (kind, size) in KINDS {
        let whole = sample(kind, size);
        // The copy of a stack is long; every length near its edges and some between will do.
        let step = if size > 1000 { 97 } else { 1 };
        for len in (0..size).step_by(step).chain(size - 20..size) {
            let cut = &whole[..len];
            let expected = if len < HEADER {
                Damage::Truncated {
                    have: len,
                    need: HEADER,
                }
            } else {
                Damage::LengthMismatch {
                    have: len,
                    said: size as u32,
                }
            };
            assert_eq!(record(cut), Err(expected), "kind {kind} cut at {len}");
        }
    }
}

/// The header agrees with what there is, and what there is is too little for the kind.
#[test]
fn a_record_shorter_than_its_kind_is_damage() {
    for (kind, size) in KINDS {
        for len in [HEADER, HEADER + 1, size - 1] {
            let mut short = sample(kind, size);
            short.truncate(len);
            short[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
            assert_eq!(
                record(&short),
                Err(Damage::Truncated {
                    have: len,
                    need: size
                })
            );
        }
    }
}

/// A newer kernel object may append fields; what this version knows is read, the rest is left.
#[test]
fn a_longer_record_is_read_as_far_as_it_is_known() {
    for (kind, size) in KINDS {
        let mut long = sample(kind, size);
        long.extend([0xee; 40]);
        long[4..8].copy_from_slice(&(size as u32 + 40).to_ne_bytes());
        assert_eq!(bytes_of(&record(&long).unwrap()), long[..size]);
    }
}

/// The ring pads to eight bytes (kernel/bpf/ringbuf.c), so more bytes than the header says are no
/// damage; fewer are.
#[test]
fn a_lying_length_is_damage_only_when_bytes_are_missing() {
    let (kind, size) = KINDS[0];
    for said in [0, 1, HEADER as u32, size as u32 - 1] {
        let mut bytes = sample(kind, size);
        bytes[4..8].copy_from_slice(&said.to_ne_bytes());
        assert!(record(&bytes).is_ok(), "says {said}");
    }
    for said in [size as u32 + 1, u32::MAX] {
        let mut bytes = sample(kind, size);
        bytes[4..8].copy_from_slice(&said.to_ne_bytes());
        assert_eq!(
            record(&bytes),
            Err(Damage::LengthMismatch { have: size, said })
        );
    }
}

#[test]
fn an_unknown_kind_is_named() {
    for kind in [0, 9, 10, u32::MAX] {
        let bytes = sample(kind, 64);
        assert_eq!(record(&bytes), Err(Damage::UnknownKind(kind)));
    }
}

/// The two sides share no compiler: nothing may depend on padding, which `IntoBytes` forbids, and
/// arrays of records in a stream must keep every record aligned.
#[test]
fn records_follow_each_other_aligned() {
    for (_, size) in KINDS {
        assert_eq!(size % 8, 0);
    }
    assert_eq!(size_of::<SocketItem>() % align_of::<SocketItem>(), 0);
    for align in [
        align_of::<Transition>(),
        align_of::<Eviction>(),
        align_of::<StackCopy>(),
        align_of::<SocketItem>(),
    ] {
        assert_eq!(align, 8);
    }
}

/// Records are read wherever they lie: a ring or a file gives no alignment.
#[test]
fn a_record_is_read_at_any_address() {
    let (kind, size) = KINDS[0];
    let whole = sample(kind, size);
    for shift in 0..8 {
        let mut room = vec![0xff; shift];
        room.extend(&whole);
        assert_eq!(bytes_of(&record(&room[shift..]).unwrap()), whole);
    }
}

#[test]
fn the_bytes_of_a_stack_copy_begin_at_sp_and_end_with_the_last_page_read() {
    let (kind, size) = (KIND_STACK, size_of::<StackCopy>());
    let Ok(Record::Stack(mut copy)) = record(&sample(kind, size)) else {
        panic!("a stack copy");
    };
    copy.sp = 0x7fff_0000_0ff0;
    for (valid, expected) in [(0, 0), (1, 16), (2, 16 + PAGE), (5, 16 + 4 * PAGE)] {
        copy.valid_pages = valid;
        assert_eq!(copy.bytes().len(), expected, "{valid} pages");
    }
    assert_eq!(copy.bytes()[0], copy.pages[0xff0]);
    // More pages than there can be is damage of one word, not of the reader.
    copy.valid_pages = u32::MAX;
    assert_eq!(copy.bytes().len(), STACK_PAGES * PAGE - 0xff0);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..600),
        kind in 0u32..8,
        honest in any::<bool>(),
    ) {
        if bytes.len() >= 8 {
            bytes[..4].copy_from_slice(&kind.to_ne_bytes());
            if honest {
                let len = bytes.len() as u32;
                bytes[4..8].copy_from_slice(&len.to_ne_bytes());
            }
        }
        if let Ok(decoded) = record(&bytes) {
            prop_assert_eq!(kind_of(&decoded), kind);
            let back = bytes_of(&decoded);
            prop_assert_eq!(&bytes[..back.len()], &back[..]);
        }
    }

    #[test]
    fn a_stream_of_items_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for chunk in bytes.chunks_exact(size_of::<SocketItem>()) {
            let item = SocketItem::read_from_bytes(chunk).unwrap();
            prop_assert_eq!(item.as_bytes(), chunk);
        }
    }
}
