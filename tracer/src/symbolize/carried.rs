//! What is known of a program beyond the life of one process of it: how frames are left at places in its files, and
//! that it has no language runtime. For trees of processes that live for a moment each; addresses mean nothing there,
//! for each has them elsewhere, so a place is a mapping's file, where in the file it begins, and how far into it.

use std::collections::HashMap;

use super::files::Held;
use super::maps::Mapping;
use super::message::Key;
use super::process::{Process, Source};
use super::request::AddressRule;

/// The one used longest ago goes first.
const MAX_PROGRAMS: usize = 64;
/// Of one program, with its libraries: 16 bytes each.
const MAX_PLACES: usize = 1024;

#[derive(Default)]
pub(super) struct Carried {
    /// By the file and what a report calls it.
    programs: HashMap<(Key, String), Program>,
    clock: u64,
}

#[derive(Default)]
struct Program {
    used: u64,
    modules: Vec<Module>,
    places: usize,
    /// The files of a process that had no runtime by them alone.
    without_runtime: Option<Vec<Key>>,
}

struct Module {
    file: Key,
    offset: u64,
    /// Whose code it is said to be depends on it.
    name: String,
    /// By distance from the mapping's begin; `None` where two processes were told different things.
    rules: HashMap<u64, Option<u64>>,
}

impl Module {
    fn is_of(&self, mapping: &Mapping, held: &Held) -> bool {
        (self.file, self.offset) == (held.key, mapping.offset) && self.name == mapping.name
    }
}

impl Carried {
    pub(super) fn places(&self) -> usize {
        self.programs.values().map(|program| program.places).sum()
    }

    /// What was found out for a stack of a process that executes `program`.
    pub(super) fn learn(
        &mut self,
        program: &(Key, String),
        process: &Process,
        rules: &[AddressRule],
    ) {
        let known = self.program(program);
        for rule in rules {
            let Some((mapping, held)) = file_at(process, rule.address) else {
                continue;
            };
            // A return address is looked up by the call before it, which must be in the same file.
            let into = rule.address - mapping.range.start;
            if into > 0 {
                known.learn(mapping, held, into, rule.rule);
            }
        }
    }

    /// The same for another process of the program, at the addresses that it has the places at.
    pub(super) fn rules(&mut self, program: &(Key, String), process: &Process) -> Vec<AddressRule> {
        let known = self.program(program);
        let mut found = Vec::new();
        for (mapping, source) in &process.code {
            let Source::File(held) = source else { continue };
            if !held.is_proven(mapping) {
                continue;
            }
            let length = mapping.range.end - mapping.range.start;
            let modules = known.modules.iter();
            for module in modules.filter(|module| module.is_of(mapping, held)) {
                let sure = module.rules.iter().filter(|(into, _)| **into < length);
                found.extend(sure.filter_map(|(into, rule)| {
                    Some(AddressRule {
                        address: mapping.range.start + into,
                        rule: (*rule)?,
                    })
                }));
            }
        }
        found
    }

    pub(super) fn has_no_runtime(&mut self, program: &(Key, String), process: &Process) -> bool {
        let files = files(process);
        files.is_some() && self.program(program).without_runtime == files
    }

    pub(super) fn learn_without_runtime(&mut self, program: &(Key, String), process: &Process) {
        self.program(program).without_runtime = files(process);
    }

    fn program(&mut self, program: &(Key, String)) -> &mut Program {
        self.clock += 1;
        if self.programs.len() >= MAX_PROGRAMS && !self.programs.contains_key(program) {
            let oldest = self.programs.iter().min_by_key(|(_, known)| known.used);
            if let Some(oldest) = oldest.map(|(of, _)| of.clone()) {
                self.programs.remove(&oldest);
            }
        }
        let known = self.programs.entry(program.clone()).or_default();
        known.used = self.clock;
        known
    }
}

impl Program {
    fn learn(&mut self, mapping: &Mapping, held: &Held, into: u64, rule: u64) {
        let place = self
            .modules
            .iter()
            .position(|module| module.is_of(mapping, held));
        let place = place.unwrap_or_else(|| {
            self.modules.push(Module {
                file: held.key,
                offset: mapping.offset,
                name: mapping.name.clone(),
                rules: HashMap::new(),
            });
            self.modules.len() - 1
        });
        let Some(module) = self.modules.get_mut(place) else {
            return;
        };
        if let Some(known) = module.rules.get_mut(&into) {
            *known = known.filter(|known| *known == rule);
        } else if self.places < MAX_PLACES {
            module.rules.insert(into, Some(rule));
            self.places += 1;
        }
    }
}

/// The file that is proven to be what the process has mapped there and before it.
fn file_at(process: &Process, address: u64) -> Option<(&Mapping, &Held)> {
    let (mapping, source) = process.at(address)?;
    match source {
        Source::File(held) if held.is_proven(mapping) => Some((mapping, held)),
        _ => None,
    }
}

/// All files of the process; `None` when some of its code is not of a file that is known.
fn files(process: &Process) -> Option<Vec<Key>> {
    let mut files = Vec::new();
    for (mapping, source) in &process.code {
        match source {
            Source::File(held) if held.is_proven(mapping) => files.push(held.key),
            Source::File(_) | Source::Problem(_) => return None,
            Source::Nothing | Source::Memory(_) => {}
        }
    }
    files.sort_unstable();
    files.dedup();
    Some(files)
}

#[cfg(test)]
mod tests {
    use std::cell::OnceCell;
    use std::rc::Rc;
    use std::time::Instant;

    use super::super::files::Files;
    use super::super::maps::{Backing, Start};
    use super::*;

    const TEXT: u64 = 0x1000;

    fn held(files: &mut Files, content: &str) -> Rc<Held> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let file = file.reopen().unwrap();
        let id = super::super::open::FileId::of(&file).unwrap();
        let (held, _) = files.hold(file, id);
        let _ = held.loaded.set(Ok(Some("ab".to_owned())));
        held
    }

    fn process(code: &[(u64, &Rc<Held>, &str)]) -> Process {
        let code = code.iter().map(|(start, held, name)| {
            let mapping = Mapping {
                range: *start..*start + 0x2000,
                offset: TEXT,
                dev: (0, 0),
                ino: 0,
                build_id: Some("ab".to_owned()),
                backing: Backing::File,
                path: "/srv/app".into(),
                name: (*name).to_owned(),
                of_system: false,
            };
            (mapping, Source::File(Rc::clone(held)))
        });
        Process {
            pid: 1,
            start: Start::from_boot_ns(1).unwrap(),
            user: 0,
            code: code.collect(),
            version: 1,
            omitted: false,
            replaced: Vec::new(),
            checked: Instant::now(),
            told: None,
        }
    }

    fn rule(address: u64, rule: u64) -> AddressRule {
        AddressRule { address, rule }
    }

    #[test]
    fn a_place_is_carried_to_where_the_same_file_is_mapped_and_nowhere_else() {
        let mut files = Files::default();
        let (app, other) = (held(&mut files, "1"), held(&mut files, "22"));
        let program = (app.key, "app".to_owned());
        let mut carried = Carried::default();
        let learnt = [rule(0x50_0010, 7), rule(0x50_0000, 8), rule(0x90_0000, 9)];
        carried.learn(&program, &process(&[(0x50_0000, &app, "app")]), &learnt);
        // Of the mapping's first address the call before it may be of another file; the last is of none.
        let again = process(&[(0x7000_0000, &app, "app")]);
        assert_eq!(carried.rules(&program, &again), [rule(0x7000_0010, 7)]);
        assert_eq!(carried.places(), 1);
        for (held, name) in [(&other, "app"), (&app, "renamed")] {
            let process = process(&[(0x7000_0000, held, name)]);
            assert_eq!(carried.rules(&program, &process), []);
        }
        // Of another build, whatever the file was when it was opened.
        let mut changed = process(&[(0x7000_0000, &app, "app")]);
        changed.code[0].0.build_id = Some("cd".to_owned());
        assert_eq!(carried.rules(&program, &changed), []);
        assert_eq!(carried.rules(&(app.key, "b".to_owned()), &again), []);
    }

    #[test]
    fn what_two_processes_are_told_differently_is_not_carried() {
        let mut files = Files::default();
        let app = held(&mut files, "1");
        let program = (app.key, "app".to_owned());
        let mut carried = Carried::default();
        let process = process(&[(0x50_0000, &app, "app")]);
        for told in [7, 8, 7] {
            carried.learn(&program, &process, &[rule(0x50_0010, told)]);
        }
        assert_eq!(carried.rules(&program, &process), []);
    }

    #[test]
    fn what_is_carried_is_bounded() {
        let mut files = Files::default();
        let app = held(&mut files, "1");
        let mut carried = Carried::default();
        let process = process(&[(0x50_0000, &app, "app")]);
        for number in 0..100 {
            let program = (app.key, format!("app{number}"));
            let rules: Vec<_> = (1..0x1fff).map(|into| rule(0x50_0000 + into, 7)).collect();
            carried.learn(&program, &process, &rules);
        }
        assert_eq!(carried.places(), MAX_PROGRAMS * MAX_PLACES);
        let newest = (app.key, "app99".to_owned());
        assert_eq!(carried.rules(&newest, &process).len(), MAX_PLACES);
    }

    #[test]
    fn a_program_without_runtime_is_known_by_all_its_files() {
        let mut files = Files::default();
        let (app, library) = (held(&mut files, "1"), held(&mut files, "22"));
        let program = (app.key, "app".to_owned());
        let mut carried = Carried::default();
        let alone = process(&[(0x50_0000, &app, "app")]);
        let both = process(&[(0x50_0000, &app, "app"), (0x60_0000, &library, "library")]);
        assert!(!carried.has_no_runtime(&program, &alone));
        carried.learn_without_runtime(&program, &alone);
        assert!(carried.has_no_runtime(&program, &alone));
        assert!(!carried.has_no_runtime(&program, &both));
        // Nobody has read the file.
        let unread = Rc::new(Held {
            key: 99,
            id: library.id,
            file: library.file.try_clone().unwrap(),
            loaded: OnceCell::new(),
        });
        let unread = process(&[(0x50_0000, &unread, "app")]);
        carried.learn_without_runtime(&program, &unread);
        assert!(!carried.has_no_runtime(&program, &unread));
    }
}
