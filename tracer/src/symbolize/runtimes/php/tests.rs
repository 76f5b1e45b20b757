//! Made-up memory: what refers to the right things is named, and nothing else; lists that run in circles end.

use std::fs::File;

use tracer_common::runtime::ALONE;

use super::*;

const MODULES: u64 = 0x10000;
const EXECUTOR: u64 = 0x11000;
const FRAMES: u64 = 0x20000;
const FUNCTIONS: u64 = 0x30000;
const INSTRUCTIONS: u64 = 0x40000;
const TEXTS: u64 = 0x50000;

/// Memory that begins at `MODULES`.
struct Made(Vec<u8>);

impl Made {
    /// A release, and a stack of a method that a function was called by, with a C function innermost.
    fn of(number: u32) -> Self {
        let layout = match number {
            20_200_930 => (68, 72, 144),
            20_230_831 => (76, 80, 144),
            20_240_924 => (96, 104, 168),
            _ => (80, 88, 152),
        };
        let mut made = Self(vec![0; 0x50000]);
        made.set(MODULES + 16, MODULES + 0x100);
        made.half(MODULES + 24, 2);
        for bucket in 0..2 {
            let module = MODULES + 0x200 + bucket * 0x200;
            made.set(MODULES + 0x100 + bucket * 32, module);
            made.set(module, 168);
            made.half(module + 4, number);
        }
        made.set(EXECUTOR + 456, FRAMES + 0x400);
        made.set(EXECUTOR + 464, FRAMES + 0x8000);
        made.set(EXECUTOR + 472, FRAMES);
        made.set(EXECUTOR + 480, 0x8000);
        made.set(EXECUTOR + 488, FRAMES + 0x300);
        made.set(FRAMES + 8, FRAMES + 0x8000);
        for (number, at) in [0x300_u64, 0x200, 0x100].into_iter().enumerate() {
            let number = number as u64;
            let code = FUNCTIONS + number * 0x100;
            made.set(FRAMES + at, INSTRUCTIONS + number * 0x1000 + 64);
            made.set(FRAMES + at + 24, code);
            made.set(
                FRAMES + at + 48,
                if number == 2 { 0 } else { FRAMES + at - 0x100 },
            );
            made.set(code, if number == 0 { 1 } else { 2 });
            let name = made.text(number, ["recv", "lire", "main"][number as usize]);
            made.set(code + 8, name);
            made.half(code + layout.0, 4);
            made.set(code + layout.1, INSTRUCTIONS + number * 0x1000);
            let file = made.text(8, "/srv/app.php");
            made.set(code + layout.2, file);
            made.half(INSTRUCTIONS + number * 0x1000 + 64 + 24, 10 + number as u32);
        }
        made.set(FUNCTIONS + 0x100 + 16, FUNCTIONS + 0x800);
        let class = made.text(9, "Shop\\Reader");
        made.set(FUNCTIONS + 0x808, class);
        made
    }

    fn set(&mut self, at: u64, word: u64) {
        let at = (at - MODULES) as usize;
        self.0[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    fn half(&mut self, at: u64, half: u32) {
        let at = (at - MODULES) as usize;
        self.0[at..at + 4].copy_from_slice(&half.to_le_bytes());
    }

    fn text(&mut self, number: u64, text: &str) -> u64 {
        let at = TEXTS + number * 0x100;
        self.set(at, 6 << 32 | 1);
        self.set(at + 16, text.len() as u64);
        let from = (at - MODULES) as usize + 24;
        self.0[from..from + text.len()].copy_from_slice(text.as_bytes());
        at
    }

    /// Whether the executor is one, and what it executes.
    fn read(&self) -> (Option<Layout>, bool, Vec<String>, bool) {
        let mut fetch = pages(self);
        let mut memory = Memory::new(&mut fetch);
        let layout = layout::find(&mut memory, MODULES);
        let is_executor = layout::is_executor(&mut memory, EXECUTOR);
        let Some(layout) = layout else {
            return (None, is_executor, Vec::new(), false);
        };
        let walked = walk(&mut memory, EXECUTOR + layout::CURRENT);
        let (stack, truncated) = walked.unwrap_or_default();
        assert!(stack.len() <= MAX_FRAMES);
        let (named, cut) = function::name(&mut memory, &layout, &stack);
        let shown = named.into_iter().map(|(_, frame, _)| {
            let (name, file) = (frame.function.unwrap(), frame.file.unwrap());
            format!("{name} ({file}:{})", frame.line.unwrap_or(0))
        });
        (Some(layout), is_executor, shown.collect(), truncated || cut)
    }
}

const READ: [&str; 2] = [
    "Shop\\Reader::lire (/srv/app.php:11)",
    "main (/srv/app.php:12)",
];

#[test]
fn functions_of_every_release_are_read() {
    for number in [20_200_930, 20_210_902, 20_220_829, 20_230_831, 20_240_924] {
        let like = if number < 20_220_829 {
            20_200_930
        } else {
            number
        };
        let mut made = Made::of(like);
        made.half(MODULES + 0x204, number);
        made.half(MODULES + 0x404, number);
        let (layout, is_executor, names, truncated) = made.read();
        assert!(layout.is_some() && is_executor && !truncated, "{number}");
        assert_eq!(names, READ, "{number}");
    }
}

/// What one change of a word makes of the whole.
fn changed(at: u64, word: u64) -> (Option<Layout>, bool, Vec<String>, bool) {
    let mut made = Made::of(20_220_829);
    made.set(at, word);
    made.read()
}

#[test]
fn what_does_not_prove_itself_is_not_named() {
    let module = MODULES + 0x200;
    // For threads, for debugging, of another size or release; modules that are not built alike; none.
    for (at, word) in [
        (module + 8, 0x100),
        (module + 8, 1),
        (module, 0xa0 | 20_220_829 << 32),
        (module, 0xa8 | 20_260_924 << 32),
        (MODULES + 0x400, 0xa8 | 20_230_831 << 32),
        (MODULES + 24, 0),
        (MODULES + 24, 1 << 20),
    ] {
        assert_eq!(changed(at, word).0, None, "{at:x} {word:x}");
    }
    // Top, end, stack and its size.
    for (at, word) in [
        (EXECUTOR + 456, FRAMES + 8),
        (EXECUTOR + 456, FRAMES + 0x8008),
        (EXECUTOR + 464, FRAMES + 0x8008),
        (EXECUTOR + 472, 0),
        (EXECUTOR + 472, FRAMES + 0x40),
        (EXECUTOR + 480, 0x8001),
        (FRAMES + 8, FRAMES),
    ] {
        assert!(!changed(at, word).1, "{at:x} {word:x}");
    }
    let function = FUNCTIONS + 0x100;
    // Kind, name, class, number and place of instructions, file, and the instruction of the frame.
    for (at, word) in [
        (function, 3),
        (function + 8, 0x99000),
        (function + 8, INSTRUCTIONS),
        (function + 16, 0x99000),
        (function + 80, 2),
        (function + 88, INSTRUCTIONS + 0x2000),
        (function + 88, INSTRUCTIONS + 0x1008),
        (function + 152, 0),
        (FRAMES + 0x200, INSTRUCTIONS + 0x2040),
        (TEXTS + 0x100, 7 << 32 | 1),
        (TEXTS + 0x110, 0),
        (TEXTS + 0x110, 1 << 40),
        (TEXTS + 0x110, 3),
    ] {
        let (_, _, names, truncated) = changed(at, word);
        assert!(names.is_empty() && truncated, "{at:x} {word:x} {names:?}");
    }
}

/// Memory as `read` sees it.
fn pages(made: &Made) -> impl FnMut(&[u64]) -> Vec<Option<Vec<u8>>> + '_ {
    |pages| {
        let page = |at: &u64| {
            let at = usize::try_from(at.checked_sub(MODULES)?).ok()?;
            Some(made.0.get(at..at + 4096)?.to_vec())
        };
        pages.iter().map(page).collect()
    }
}

#[test]
fn past_calls_are_named_only_where_no_other_function_can_have_taken_the_place() {
    let [method, outside] = [0x100, 0x200].map(|at| FUNCTIONS + at);
    let mut made = Made::of(20_220_829);
    made.set(outside + 8, 0);
    let stack = [(method, 0x1000), (outside, 0x2000)]
        .map(|(code, at)| (code, (INSTRUCTIONS + at + 64) | ALONE));
    let named = |made: &Made, one_script, stack: &[(u64, u64)], whole| {
        let mut fetch = pages(made);
        let mut memory = Memory::new(&mut fetch);
        let php = Php {
            image: FileId::of(&File::open("/dev/null").unwrap()).unwrap(),
            layout: layout::find(&mut memory, MODULES).unwrap(),
            current: EXECUTOR + layout::CURRENT,
            one_script,
        };
        let told = php.noted(&mut memory, stack, whole);
        (told.functions.len(), told.truncated)
    };
    let included = [stack[1], stack[0]];
    assert_eq!(named(&made, true, &stack, true), (2, false));
    assert_eq!(
        named(&made, true, &stack, false),
        (1, true),
        "perhaps it was included"
    );
    assert_eq!(named(&made, true, &included, true), (0, true));
    assert_eq!(
        named(&made, false, &stack, true),
        (0, true),
        "gone with its request"
    );
    made.half(method + 4, 1 << 7);
    assert_eq!(
        named(&made, false, &stack, true),
        (1, true),
        "kept for all requests"
    );
    for (name, is_one) in [("cli", true), ("cli-server", false), ("fpm-fcgi", false)] {
        let mut made = Made::of(20_220_829);
        let text = made.text(3, name);
        made.set(EXECUTOR, text + 24);
        let mut fetch = pages(&made);
        let mut memory = Memory::new(&mut fetch);
        assert_eq!(
            layout::runs_one_script(&mut memory, EXECUTOR),
            is_one,
            "{name}"
        );
    }
}

#[test]
fn circles_and_lost_frames_end() {
    for (at, word, names) in [
        (FRAMES + 0x130, FRAMES + 0x300, MAX_FRAMES / 3 * 2),
        (FRAMES + 0x130, FRAMES + 0x100, MAX_FRAMES - 2 + 1 - 1),
        (FRAMES + 0x130, 0x99000, 2),
        (FRAMES + 0x230, 0x99000, 1),
    ] {
        let (_, _, found, truncated) = changed(at, word);
        assert!(truncated, "{word:x}");
        assert!(found.len().abs_diff(names) <= 1, "{word:x} {}", found.len());
    }
    let (_, _, names, truncated) = changed(EXECUTOR + 488, 0);
    assert!(names.is_empty() && !truncated, "nothing is executed");
}

#[test]
fn memory_full_of_anything_is_read() {
    crate::damaged::run("memory", 300, |bytes| {
        let mut fetch = |pages: &[u64]| crate::damaged::pages(bytes, pages);
        let mut memory = Memory::new(&mut fetch);
        layout::find(&mut memory, 0x10000);
        layout::is_executor(&mut memory, 0x10000);
        for layout in layout::ALL {
            let (stack, _) = walk(&mut memory, 0x10000).unwrap_or_default();
            function::name(&mut memory, layout, &stack);
            let all = (0..64).map(|number| Activation {
                code: 0x10000 + number * 64,
                instruction: 0x10000 + number * 8,
            });
            function::name(&mut memory, layout, &all.collect::<Vec<_>>());
        }
    });
}
