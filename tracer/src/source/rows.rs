//! Teaches the kernel program the way through stacks it could not follow to the end, and says how much
//! of a copied stack its key stands for.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_common::{
    event::StackCopy as Wire,
    runtime::{
        Activation, MANAGED_CUT, MANAGED_DEEPER, MANAGED_UNKNOWN, MANAGED_UNREAD, MANAGED_WHOLE,
    },
    stack_key,
};

use super::{runtimes::Search, stacks::Stacks, walk};
use crate::{
    model::input::Input,
    probe::{host::mono_now_ns, rows::Rows, runtimes::Runtimes},
    symbolize::{AddressRule, Noted, StackCopy, Symbolizer, Warning},
};

/// Stacks that the helper process is asked about in one go; others come again.
const MAX_ASKED: u32 = 64;
/// An address that got no row is not asked for again before.
const AGAIN: Duration = Duration::from_secs(1);
const MAX_REMEMBERED: usize = 4096;

#[derive(Default)]
pub struct Teacher {
    asked: HashMap<(u64, u64), Instant>,
    /// Of programs without an exact key so far: their first call.
    first_calls: HashMap<u64, FirstCall>,
    /// By layout: the version of its code for which the kernel program was told all that is known of the program.
    carried: HashMap<u64, u64>,
    left: u32,
    pub search: Search,
}

/// Times are the kernel's, of calls.
struct FirstCall {
    at: u64,
    copies: u32,
    known: bool,
}

/// What the kernel program is told.
pub struct Taught<'t> {
    pub rows: &'t mut Rows,
    pub runtimes: &'t mut Runtimes,
}

/// What a key stands for.
struct Sure {
    /// Return addresses; `None` is all.
    steps: Option<u32>,
    /// The functions of the runtime that came with it.
    functions: bool,
}

impl Teacher {
    /// Keeps a batch of copies, and returns what is to be said anew of stacks that were named before.
    pub fn take_in(
        &mut self,
        copies: &[Box<Wire>],
        taught: &mut Taught<'_>,
        symbolizer: &mut Symbolizer,
        stacks: &mut Stacks,
        warnings: &mut Vec<Warning>,
    ) -> anyhow::Result<Vec<Input>> {
        for copy in copies {
            symbolizer.remember(copy.tgid, copy.start_boot, copy.header.at);
            self.search.of_copy(copy, taught.runtimes, symbolizer)?;
        }
        for (pid, ranges) in symbolizer.take_replaced() {
            taught
                .rows
                .forget(pid, &ranges)
                .context("take back unwind rows")?;
        }
        self.search.again(taught.runtimes, symbolizer)?;
        self.search.early(taught.runtimes, symbolizer)?;
        self.left = MAX_ASKED;
        if self.asked.len() > MAX_REMEMBERED {
            self.asked.clear();
        }
        let mut news = Vec::new();
        let mut functions = Vec::new();
        for copy in copies {
            self.note_exact(copy);
        }
        // Those that come meanwhile can be followed further.
        let sure: Vec<Sure> = copies
            .iter()
            .map(|copy| self.check(copy, taught, symbolizer))
            .collect();
        for (copy, sure) in copies.iter().zip(sure) {
            let noted = if sure.functions {
                noted(copy, &mut functions)
            } else {
                Noted::Unread
            };
            let stack = stacks.add(copy, noted, sure.steps, symbolizer, warnings);
            news.extend(stack.map(|stack| Input::Stack {
                key: copy.key,
                stack,
            }));
        }
        Ok(news)
    }

    /// What of the copied stack is that of every call with its key.
    fn check(&mut self, copy: &Wire, taught: &mut Taught<'_>, symbolizer: &mut Symbolizer) -> Sure {
        let rows = &mut *taught.rows;
        rows.is_of(copy.tgid, copy.layout);
        let told = matches!(
            copy.managed,
            MANAGED_WHOLE | MANAGED_DEEPER | MANAGED_UNREAD | MANAGED_CUT
        );
        let runtime = taught.runtimes.of(copy.layout).filter(|_| told);
        let known = |rows: &Rows| {
            walk::repeat(
                copy,
                |address| rows.rule(copy.layout, address),
                |address| {
                    runtime.is_some_and(|of| address.wrapping_sub(of.image) < of.image_length)
                },
            )
        };
        let mut walked = known(rows);
        if walked.missing && self.carry(copy, rows, symbolizer) {
            walked = known(rows);
        }
        // Java compiles, and throws away what it has compiled: what was right a minute ago is looked at again.
        let compiled = copy.managed_from != [0; 3];
        if (walked.missing || compiled) && self.may_ask(copy, &walked) {
            let rules = symbolizer.rules(&view(copy));
            tracing::debug!(
                pid = copy.tgid,
                rows = rules.len(),
                microseconds = mono_now_ns().saturating_sub(copy.header.at) / 1000,
                "unwind rows learnt after the call that missed them"
            );
            learn(rows, copy.layout, &rules);
            walked = known(rows);
        }
        if stack_key::is_of_one_call(copy.key) {
            return Sure {
                steps: None,
                functions: true,
            };
        }
        if walk::agrees(copy, &walked.addresses) {
            return Sure {
                steps: Some(stack_key::steps(copy.key)),
                functions: true,
            };
        }
        // Made with rows that did not belong to this code, or that are gone since.
        tracing::debug!(
            pid = copy.tgid,
            steps = stack_key::steps(copy.key),
            "the key of a stack is not that of its copy"
        );
        Sure {
            steps: Some(0),
            functions: false,
        }
    }

    /// Tells what is known of the program from processes before, once for all that it has mapped. True when that is something.
    fn carry(&mut self, copy: &Wire, rows: &mut Rows, symbolizer: &mut Symbolizer) -> bool {
        let Some(version) = symbolizer.version(copy.tgid) else {
            return false;
        };
        if self.carried.len() >= MAX_REMEMBERED {
            self.carried.clear();
        }
        if self.carried.insert(copy.layout, version) == Some(version) {
            return false;
        }
        let rules = symbolizer.carried_rules(copy.tgid);
        learn(rows, copy.layout, &rules);
        !rules.is_empty()
    }

    /// How long a program's calls have depended on copies of their own.
    fn note_exact(&mut self, copy: &Wire) {
        if self.first_calls.len() > MAX_REMEMBERED {
            self.first_calls.clear();
        }
        let at = copy.header.at;
        let first = self.first_calls.entry(copy.layout).or_insert(FirstCall {
            at,
            copies: 0,
            known: false,
        });
        first.copies += 1;
        if stack_key::is_whole(copy.key) && !first.known {
            first.known = true;
            tracing::debug!(
                pid = copy.tgid,
                microseconds = at.saturating_sub(first.at) / 1000,
                copies = first.copies,
                "the first exact key after the first call"
            );
        }
    }

    fn may_ask(&mut self, copy: &Wire, walked: &walk::Walked) -> bool {
        let Some(last) = walked.addresses.last() else {
            return false;
        };
        let innermost = copy.functions().next().map_or(0, |one| one.code);
        let [left_java, ..] = copy.managed_from;
        let [on_heap, ..] = copy.cut_on_heap();
        let innermost = innermost.rotate_left(16) ^ on_heap.rotate_left(32);
        let place = (copy.layout, *last ^ left_java ^ innermost);
        let lately = self.asked.get(&place);
        if self.left == 0 || lately.is_some_and(|at| at.elapsed() < AGAIN) {
            return false;
        }
        self.left -= 1;
        self.asked.insert(place, Instant::now());
        true
    }
}

fn learn(rows: &mut Rows, layout: u64, rules: &[AddressRule]) {
    for rule in rules {
        if let Err(error) = rows.learn(layout, rule.address, rule.rule) {
            tracing::warn!(%error, "an unwind row cannot be written");
            break;
        }
    }
}

fn view(copy: &Wire) -> StackCopy<'_> {
    StackCopy {
        pid: copy.tgid,
        start_boot_ns: copy.start_boot,
        pc: copy.pc,
        sp: copy.sp,
        fp: copy.fp,
        lr: copy.lr,
        bytes: copy.bytes(),
        walked: copy.walked(),
        thread: 0,
        first_thread: false,
        noted: if copy.managed_from == [0; 3] {
            Noted::Nothing
        } else {
            Noted::Cut {
                from: copy.managed_from,
                on_heap: copy.cut_on_heap(),
            }
        },
        sure: None,
    }
}

fn noted<'f>(copy: &Wire, functions: &'f mut Vec<Activation>) -> Noted<'f> {
    match copy.managed {
        MANAGED_UNKNOWN => Noted::Nothing,
        MANAGED_WHOLE | MANAGED_DEEPER => {
            functions.clear();
            functions.extend(copy.functions());
            Noted::Functions {
                functions,
                deeper: copy.managed == MANAGED_DEEPER,
            }
        }
        MANAGED_UNREAD => Noted::Unread,
        // Of those on the heap there is no copy, but what was met before is known.
        MANAGED_CUT if copy.cut_on_heap() != [0; 3] => {
            functions.clear();
            functions.extend(copy.functions());
            Noted::Functions {
                functions,
                deeper: true,
            }
        }
        MANAGED_CUT => Noted::Cut {
            from: copy.managed_from,
            on_heap: copy.cut_on_heap(),
        },
        _ => Noted::NoFunctions,
    }
}
