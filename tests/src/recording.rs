//! What is in a recording, input by input, without the program's own types: a change of what is recorded
//! shows.
use serde_json::Value;
use std::path::Path;

/// The payload of every input of this kind, in order.
pub fn inputs(file: &Path, kind: &str) -> Vec<Value> {
    let bytes = std::fs::read(file).expect("the recording");
    let begin = bytes.iter().position(|byte| *byte == b'\n');
    let mut rest = &bytes[begin.expect("a first line") + 1..];
    let mut found = Vec::new();
    loop {
        let length = u32::from_le_bytes(rest[..4].try_into().expect("a length")) as usize;
        if length == 0 {
            return found;
        }
        let input: Value = serde_json::from_slice(&rest[8..8 + length]).expect("an input as JSON");
        found.extend(input.get(kind).cloned());
        rest = &rest[8 + length..];
    }
}
