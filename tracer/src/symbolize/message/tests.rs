use std::path::PathBuf;

use super::*;
use crate::model::stack::Stack;
use crate::symbolize::maps::Backing;

#[test]
fn a_mapping_crosses_without_its_path() {
    let mapping = Mapping {
        range: 0x1000..0x2000,
        offset: 0x3000,
        dev: (8, 1),
        ino: 77,
        build_id: None,
        backing: Backing::File,
        path: PathBuf::from("/home/someone/app"),
        name: "app".to_owned(),
        of_system: false,
    };
    let bytes = postcard::to_stdvec(&mapping).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"someone"));
    let back: Mapping = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(
        (back.range, back.offset, back.name.as_str()),
        (0x1000..0x2000, 0x3000, "app")
    );
    assert_eq!((back.path, back.ino), (PathBuf::new(), 0));
}

#[test]
fn a_build_id_is_no_path() {
    assert!(is_build_id("0123456789abcdef"));
    for bad in ["", "a", "../../etc", "ab/cd", "AB", &"a".repeat(257)] {
        assert!(!is_build_id(bad), "{bad}");
    }
}

#[test]
fn answers_out_of_all_proportion_are_refused() {
    let named = |frame: Frame, count: usize| {
        Answer::Named(Named {
            number: 1,
            resolved: Resolved {
                stack: Stack {
                    frames: vec![frame; count],
                    truncated: false,
                    one_of_several: false,
                    of_end: false,
                    kind: None,
                    thread: None,
                    pid: None,
                    frames_at: Vec::new(),
                },
                functions: None,
                warnings: Vec::new(),
                failed: false,
            },
            left_known_code: false,
            evicted_names: 0,
        })
    };
    let long = Frame {
        function: Some("x".repeat(MAX_TEXT + 1)),
        ..Frame::default()
    };
    let not_hex = Frame {
        build_id: Some("\u{1b}[2J".to_owned()),
        ..Frame::default()
    };
    assert!(named(Frame::default(), MAX_FRAMES).is_plausible());
    assert!(!named(Frame::default(), MAX_FRAMES + 1).is_plausible());
    assert!(!named(long, 1).is_plausible());
    assert!(!named(not_hex, 1).is_plausible());
}
