//! A recording holds everything the middle learned: replayed, it gives the same report.

use proptest::prelude::*;

use super::{
    arbitrary::{inputs, run_header},
    properties::report,
};
use crate::{
    model::input::Input,
    source::recording::{Recorder, Replay},
    track::Tracker,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_replayed_recording_gives_the_same_report(inputs in inputs()) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut recorder = Recorder::create(file.path()).unwrap();
        let mut live = Tracker::default();
        for input in [Input::RunHeader(Box::new(run_header()))].into_iter().chain(inputs) {
            recorder.write(&input).unwrap();
            live.apply(input);
        }
        recorder.finish().unwrap();

        let mut replayed = Tracker::default();
        let mut replay = Replay::open(file.path()).unwrap();
        while let Some(input) = replay.next_input().unwrap() {
            replayed.apply(input);
        }
        let json = |tracker: &Tracker| serde_json::to_string(&report(tracker)).unwrap();
        prop_assert_eq!(json(&live), json(&replayed));
    }
}
