//! Which programs have a language runtime, and how the kernel program is to note what that executes. Until it
//! is told, functions of different name have one key where the runtime's code calls for all of them.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracer_common::{event::StackCopy as Wire, runtime::MANAGED_UNKNOWN, unwind};

use crate::{
    model::input::ProcessKey,
    probe::runtimes::Runtimes,
    symbolize::{RuntimeOf, StackCopy, Symbolizer},
};

/// Looks for the runtime of one program, and how long to wait between them: it may have only begun.
const MAX_LOOKS: u32 = 40;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const MAX_REMEMBERED: usize = 4096;
/// For all programs that run already when tracing begins; the others are known when they touch a socket.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Of a program that has only begun: looks before it touches a socket, so that its first calls are known. Most programs have
/// no runtime, and of those nothing is concluded before all their files are mapped.
const EARLY_LOOKS: u32 = 4;
const EARLY_LOOKS_OF_PROGRAM: u32 = 12;
const MAX_YOUNG: usize = 64;

/// By layout: the last look for its runtime.
#[derive(Default)]
pub struct Search {
    looks: HashMap<u64, Look>,
    young: Vec<Young>,
    /// By the path of the program.
    early: HashMap<PathBuf, u32>,
}

/// A process that has executed a program a moment ago.
struct Young {
    process: ProcessKey,
    at: Instant,
    left: u32,
}

struct Look {
    process: ProcessKey,
    at: Instant,
    /// 0 when there is nothing more to be found out.
    left: u32,
}

impl Search {
    /// Looks at the process of a copy that came without a word about its runtime.
    pub fn of_copy(
        &mut self,
        copy: &Wire,
        runtimes: &mut Runtimes,
        symbolizer: &mut Symbolizer,
    ) -> anyhow::Result<()> {
        if copy.managed != MANAGED_UNKNOWN {
            return Ok(());
        }
        let process = ProcessKey {
            pid: copy.tgid,
            start_boot: copy.start_boot,
        };
        self.look(process, copy.layout, runtimes, symbolizer)
    }

    /// Looks again at those whose runtime had only begun: they may give no other occasion, once their stacks are known.
    pub fn again(
        &mut self,
        runtimes: &mut Runtimes,
        symbolizer: &mut Symbolizer,
    ) -> anyhow::Result<()> {
        let due = |look: &Look| look.left > 0 && look.at.elapsed() >= LOOK_AGAIN;
        let due: Vec<(u64, ProcessKey)> = self
            .looks
            .iter()
            .filter(|(_, look)| due(look))
            .map(|(layout, look)| (*layout, look.process))
            .collect();
        for (layout, process) in due {
            self.look(process, layout, runtimes, symbolizer)?;
        }
        Ok(())
    }

    /// Looks at programs that have not touched a socket yet.
    pub fn of_processes(
        &mut self,
        processes: &[ProcessKey],
        runtimes: &mut Runtimes,
        symbolizer: &mut Symbolizer,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        for process in processes {
            if begin.elapsed() > AT_ONCE {
                break;
            }
            if let Some(layout) = layout_of(process.pid) {
                self.look(*process, layout, runtimes, symbolizer)?;
            }
        }
        Ok(())
    }

    /// A process of a tree that is followed executes a program.
    pub fn begins(&mut self, process: ProcessKey) {
        if self.young.len() < MAX_YOUNG {
            self.young.push(Young {
                process,
                at: Instant::now(),
                left: EARLY_LOOKS,
            });
        }
    }

    /// Looks at those that have begun, as long as they are young.
    pub fn early(
        &mut self,
        runtimes: &mut Runtimes,
        symbolizer: &mut Symbolizer,
    ) -> anyhow::Result<()> {
        let mut still = Vec::new();
        for mut young in std::mem::take(&mut self.young) {
            if young.at.elapsed() < LOOK_AGAIN {
                still.push(young);
                continue;
            }
            if self.look_early(young.process, runtimes, symbolizer)? {
                (young.at, young.left) = (Instant::now(), young.left - 1);
                still.extend((young.left > 0).then_some(young));
            }
        }
        self.young = still;
        Ok(())
    }

    /// True when it may yet show one.
    fn look_early(
        &mut self,
        process: ProcessKey,
        runtimes: &mut Runtimes,
        symbolizer: &mut Symbolizer,
    ) -> anyhow::Result<bool> {
        let Some(program) = symbolizer.program_of(process.pid).map(Path::to_owned) else {
            return Ok(false);
        };
        if self.early.len() >= MAX_REMEMBERED {
            self.early.clear();
        }
        let looks = self.early.entry(program).or_default();
        if *looks >= EARLY_LOOKS_OF_PROGRAM {
            return Ok(false);
        }
        *looks += 1;
        let Some(layout) = layout_of(process.pid) else {
            return Ok(false);
        };
        match symbolizer.runtime(&StackCopy::of_nothing(process)) {
            Some(RuntimeOf::Known(_)) => {}
            Some(RuntimeOf::Nobody | RuntimeOf::NotYet) => return Ok(true),
            None => return Ok(false),
        }
        // Its program has one: the next process of it is worth as many looks.
        *looks = 0;
        self.look(process, layout, runtimes, symbolizer)?;
        Ok(false)
    }

    fn look(
        &mut self,
        process: ProcessKey,
        layout: u64,
        runtimes: &mut Runtimes,
        symbolizer: &mut Symbolizer,
    ) -> anyhow::Result<()> {
        if runtimes.of(layout).is_some() {
            return Ok(());
        }
        let left = match self.looks.get(&layout) {
            Some(look) if look.left == 0 || look.at.elapsed() < LOOK_AGAIN => return Ok(()),
            Some(look) => look.left,
            None => MAX_LOOKS,
        };
        let found = symbolizer.runtime(&StackCopy::of_nothing(process));
        tracing::debug!(pid = process.pid, ?found, "looked for a language runtime");
        let left = match found {
            Some(RuntimeOf::Known(words)) => {
                runtimes
                    .learn(layout, words)
                    .context("tell of a language runtime")?;
                // Another may take its place there.
                MAX_LOOKS
            }
            Some(RuntimeOf::Nobody) => 0,
            Some(RuntimeOf::NotYet) | None => left - 1,
        };
        if self.looks.len() >= MAX_REMEMBERED {
            self.looks.clear();
        }
        let at = Instant::now();
        self.looks.insert(layout, Look { process, at, left });
        Ok(())
    }
}

/// As the kernel program computes it; `None` where /proc does not tell.
pub(super) fn layout_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    // proc(5) counts from 1, and the first after the name is the third.
    let mut fields = fields.split(' ').skip(26 - 3);
    let start_code = fields.next()?.parse().ok()?;
    let start_stack = fields.nth(1)?.parse().ok()?;
    // Both are 1 or 0 to those who may not know them.
    if start_code < 4096 {
        return None;
    }
    let executable = fs::metadata(format!("/proc/{pid}/exe")).ok()?.ino();
    Some(unwind::layout(start_stack, start_code, executable))
}
