//! Bounded, repeatable runs of whatever reads what strangers write: inputs that were good, damaged in the ways that
//! find faults. For tests; the inputs are in `corpus/`, and what ever made a reader fail is added there.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Instant;

/// How many times as many executions: `cargo xtask fuzz` asks for more than a test run does.
const FACTOR: &str = "SOCKLEAK_FUZZ_FACTOR";
/// Numbers at whose edges readers fail.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Gives `target` each input of `corpus/NAME` as it is, and then `executions` damaged ones; says how many.
pub(crate) fn run(name: &str, executions: u32, mut target: impl FnMut(&[u8])) {
    let inputs = inputs(name);
    let factor = std::env::var(FACTOR).ok();
    let factor: u32 = factor.and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut random = Random(1);
    let began = Instant::now();
    for input in &inputs {
        executed(name, input, &mut target);
    }
    for _ in 0..executions * factor {
        let mut input = inputs[random.below(inputs.len())].clone();
        for _ in 0..=random.below(6) {
            let other = &inputs[random.below(inputs.len())];
            damage(&mut input, other, &mut random);
        }
        executed(name, &input, &mut target);
    }
    let all = executions * factor + inputs.len() as u32;
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "fuzz {name}: {all} executions in {seconds:.1} s, {} inputs",
        inputs.len()
    );
}

fn inputs(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no input");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn executed(name: &str, input: &[u8], target: &mut impl FnMut(&[u8])) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    if let Err(panic) = outcome {
        let file = std::env::temp_dir().join(format!("sockleak-{name}-{}", input.len()));
        fs::write(&file, input).unwrap();
        eprintln!("fuzz {name}: failed; add {} to its corpus", file.display());
        resume_unwind(panic);
    }
}

fn damage(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    if input.is_empty() {
        input.extend_from_slice(other);
        return;
    }
    let at = random.below(input.len());
    match random.below(8) {
        0 => input[at] = random.next() as u8,
        1 => input[at] ^= 1 << random.below(8),
        2 => input.truncate(at),
        3 => drop(input.remove(at)),
        // The same once more, as of a list that does not end.
        4 => {
            let end = (at + 1 + random.below(64)).min(input.len());
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        5 if !other.is_empty() => {
            let from = random.below(other.len());
            let end = (from + 1 + random.below(64)).min(other.len());
            input.splice(at..at, other[from..end].iter().copied());
        }
        6 => {
            let text = EDGES[random.below(EDGES.len())].to_string();
            input.splice(at..at, text.into_bytes());
        }
        _ => {
            let number = EDGES[random.below(EDGES.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            for (to, from) in input[at..].iter_mut().zip(&number[..width]) {
                *to = *from;
            }
        }
    }
}

/// What a process's memory holds at these pages, made of an input: whatever is asked for, there is something.
pub(crate) fn pages(input: &[u8], asked: &[u64]) -> Vec<Option<Vec<u8>>> {
    let page = |page: &u64| {
        let from = (*page >> 12) as usize * 8;
        let bytes = input.iter().cycle().skip(from % input.len().max(1));
        Some(bytes.take(4096).copied().collect())
    };
    asked.iter().map(page).collect()
}

/// The same sequence in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // Knuth's MMIX; the lower bits of its state repeat early.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}
