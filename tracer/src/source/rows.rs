//! Teaches the kernel program the way through stacks it could not follow to the end, and says how much
//! of a copied stack its key stands for.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_common::{event::StackCopy as Wire, stack_key};

use super::{stacks::Stacks, walk};
use crate::{
    model::input::Input,
    probe::rows::Rows,
    symbolize::{StackCopy, Symbolizer, Warning},
};

/// Stacks that the helper process is asked about in one go; others come again.
const MAX_ASKED: u32 = 64;
/// An address that got no row is not asked for again before.
const AGAIN: Duration = Duration::from_secs(1);
const MAX_REMEMBERED: usize = 4096;

#[derive(Default)]
pub struct Teacher {
    asked: HashMap<(u64, u64), Instant>,
    left: u32,
}

impl Teacher {
    /// Keeps a batch of copies, and returns what is to be said anew of stacks that were named before.
    pub fn take_in(
        &mut self,
        copies: &[Box<Wire>],
        rows: &mut Rows,
        symbolizer: &mut Symbolizer,
        stacks: &mut Stacks,
        warnings: &mut Vec<Warning>,
    ) -> anyhow::Result<Vec<Input>> {
        for copy in copies {
            symbolizer.remember(copy.tgid, copy.start_boot, copy.header.at);
        }
        for (pid, ranges) in symbolizer.take_replaced() {
            rows.forget(pid, &ranges).context("take back unwind rows")?;
        }
        self.left = MAX_ASKED;
        if self.asked.len() > MAX_REMEMBERED {
            self.asked.clear();
        }
        let mut news = Vec::new();
        for copy in copies {
            let sure = self.check(copy, rows, symbolizer);
            let stack = stacks.add(copy, sure, symbolizer, warnings);
            news.extend(stack.map(|stack| Input::Stack {
                key: copy.key,
                stack,
            }));
        }
        Ok(news)
    }

    /// How many return addresses of the copied stack are those of every call with its key; `None` where
    /// the key stands for this one call and all of them are.
    fn check(&mut self, copy: &Wire, rows: &mut Rows, symbolizer: &mut Symbolizer) -> Option<u32> {
        rows.is_of(copy.tgid, copy.layout);
        let known = |rows: &Rows| walk::repeat(copy, |address| rows.rule(copy.layout, address));
        let mut walked = known(rows);
        if walked.missing && self.may_ask(copy, &walked) {
            for rule in symbolizer.rules(&view(copy)) {
                if let Err(error) = rows.learn(copy.layout, rule.address, rule.rule) {
                    tracing::warn!(%error, "an unwind row cannot be written");
                    break;
                }
            }
            walked = known(rows);
        }
        if stack_key::is_of_one_call(copy.key) {
            return None;
        }
        if walk::agrees(copy.key, copy.tgid, &walked.addresses) {
            return Some(stack_key::steps(copy.key));
        }
        // Made with rows that did not belong to this code, or that are gone since.
        tracing::debug!(
            pid = copy.tgid,
            steps = stack_key::steps(copy.key),
            "the key of a stack is not that of its copy"
        );
        Some(0)
    }

    fn may_ask(&mut self, copy: &Wire, walked: &walk::Walked) -> bool {
        let Some(last) = walked.addresses.last() else {
            return false;
        };
        let place = (copy.layout, *last);
        let lately = self.asked.get(&place);
        if self.left == 0 || lately.is_some_and(|at| at.elapsed() < AGAIN) {
            return false;
        }
        self.left -= 1;
        self.asked.insert(place, Instant::now());
        true
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
        thread: 0,
        sure: None,
    }
}
