//! What one process of a program has shown, used for the next: see [`super::carried`].

use super::maps::{self, Start};
use super::message::Key;
use super::process::{NO_USER, Source};
use super::{AddressRule, RuntimeOf, StackCopy, Symbolizer};

impl Symbolizer {
    /// Which language runtime the process has; `None` when that cannot be found out now.
    pub fn runtime(&mut self, copy: &StackCopy<'_>) -> Option<RuntimeOf> {
        if self.is_known_without_runtime(copy) {
            return Some(RuntimeOf::Nobody);
        }
        self.prepare(copy).ok()?;
        self.learn_user(copy.pid);
        let process = &self.processes.get(&copy.pid)?.process;
        let (found, by_files) = self.link.runtime(process, copy).ok()?;
        if by_files && found == RuntimeOf::Nobody {
            self.carry_without_runtime(copy.pid);
        }
        Some(found)
    }

    /// Another number after every change of the process's code.
    pub fn version(&self, pid: u32) -> Option<u64> {
        Some(self.processes.get(&pid)?.process.version)
    }

    /// How the frames at places that processes of the same program had on their stacks are left, at this one's addresses.
    /// Nothing where it is not told what the process executes.
    pub fn carried_rules(&mut self, pid: u32) -> Vec<AddressRule> {
        let Some(program) = self.told_program(pid) else {
            return Vec::new();
        };
        let known = self.processes.get(&pid);
        known.map_or_else(Vec::new, |known| {
            self.carried.rules(&program, &known.process)
        })
    }

    pub(super) fn carry_rules(&mut self, pid: u32, rules: &[AddressRule]) {
        if let Some(program) = self.told_program(pid)
            && let Some(known) = self.processes.get(&pid)
        {
            self.carried.learn(&program, &known.process, rules);
        }
    }

    fn is_known_without_runtime(&mut self, copy: &StackCopy<'_>) -> bool {
        let start = Start::from_boot_ns(copy.start_boot_ns);
        let program = self.told_program(copy.pid);
        let known = self.processes.get(&copy.pid).map(|known| &known.process);
        let known = known.filter(|known| start.is_some_and(|start| known.start.same(start)));
        let both = program.zip(known);
        both.is_some_and(|(program, known)| self.carried.has_no_runtime(&program, known))
    }

    fn carry_without_runtime(&mut self, pid: u32) {
        if let Some(program) = self.told_program(pid)
            && let Some(known) = self.processes.get(&pid)
        {
            self.carried.learn_without_runtime(&program, &known.process);
        }
    }

    /// The file that the process executes and what a report calls it, where the kernel tells what it maps.
    fn told_program(&self, pid: u32) -> Option<(Key, String)> {
        let path = self.program_of(pid)?;
        let process = &self.processes.get(&pid)?.process;
        process.told?;
        process
            .code
            .iter()
            .find_map(|(mapping, source)| match source {
                Source::File(held) if mapping.path == path => {
                    Some((held.key, mapping.name.clone()))
                }
                _ => None,
            })
    }

    /// Of a process that nobody has looked at yet: it shares its helper with no other user's.
    pub(super) fn learn_user(&mut self, pid: u32) {
        if let Some(known) = self.processes.get_mut(&pid)
            && known.process.user == NO_USER
            && maps::started(pid).is_some_and(|live| live.same(known.process.start))
            && let Some(user) = maps::user(pid)
        {
            known.process.user = user;
        }
    }
}
