//! What the report must admit, each once, with how often and when: a run of months must not collect them.

use std::collections::BTreeMap;

use crate::model::input::Warning;

/// Different subjects of one kind; what further ones say is counted with the kind.
const SUBJECTS: usize = 32;
const KINDS: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub text: String,
    pub count: u64,
    pub first: u64,
    pub last: u64,
    /// Place in the order in which they came.
    order: u64,
}

#[derive(Debug, Default)]
pub struct Warnings {
    /// By code, then by subject.
    kinds: BTreeMap<String, BTreeMap<String, Noted>>,
    /// By code: how often a subject found no room.
    more: BTreeMap<String, u64>,
    came: u64,
}

impl Warnings {
    pub fn note(&mut self, warning: Warning, now: u64) {
        if !self.kinds.contains_key(&warning.code) && self.kinds.len() >= KINDS {
            *self.more.entry(String::new()).or_default() += 1;
            return;
        }
        let subjects = self.kinds.entry(warning.code.clone()).or_default();
        let subject = warning.subject.unwrap_or_default();
        if let Some(known) = subjects.get_mut(&subject) {
            known.text = warning.text;
            known.count += 1;
            known.last = now;
        } else if subjects.len() >= SUBJECTS {
            *self.more.entry(warning.code).or_default() += 1;
        } else {
            let noted = Noted {
                text: warning.text,
                count: 1,
                first: now,
                last: now,
                order: self.came,
            };
            subjects.insert(subject, noted);
            self.came += 1;
        }
    }

    /// With code and subject, where it has one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>, &Noted)> {
        self.kinds.iter().flat_map(|(code, subjects)| {
            subjects.iter().map(move |(subject, noted)| {
                let subject = (!subject.is_empty()).then_some(subject.as_str());
                (code.as_str(), subject, noted)
            })
        })
    }

    /// For the report, in the order in which they came.
    pub fn texts(&self) -> Vec<String> {
        let mut noted: Vec<(Option<&str>, &Noted)> = self
            .iter()
            .map(|(_, subject, noted)| (subject, noted))
            .collect();
        noted.sort_by_key(|(_, noted)| noted.order);
        let texts = folded(&noted);
        let more = self.more.iter().map(|(code, count)| match code.as_str() {
            "" => format!("{count} more warnings of other kinds"),
            code => {
                format!("{count} more warnings like the {SUBJECTS} of this kind above ({code})")
            }
        });
        texts.into_iter().chain(more).collect()
    }

    pub fn len(&self) -> usize {
        self.kinds.values().map(BTreeMap::len).sum::<usize>() + self.more.len()
    }
}

/// Of several that say the same of different processes the first, with how many more there are.
fn folded(noted: &[(Option<&str>, &Noted)]) -> Vec<String> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut said: Vec<(&str, usize)> = Vec::new();
    for (subject, noted) in noted {
        let place = *places
            .entry(of_any_process(&noted.text, *subject))
            .or_insert(said.len());
        match said.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => said.push((&noted.text, 1)),
        }
    }
    let words = |(text, count): (&str, usize)| match count {
        1 => text.to_owned(),
        _ => format!("{text} (and the same of {} more)", count - 1),
    };
    said.into_iter().map(words).collect()
}

/// The text without the pid that its subject begins with.
fn of_any_process(text: &str, subject: Option<&str>) -> String {
    let first = subject.and_then(|subject| subject.split(' ').next());
    match first.filter(|first| first.parse::<u32>().is_ok()) {
        Some(pid) => text.replace(pid, "#"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(code: &str, subject: &str) -> Warning {
        Warning::new(code, &subject, format!("{code} of {subject}"))
    }

    #[test]
    fn the_same_again_is_counted_and_not_kept() {
        let mut warnings = Warnings::default();
        for now in 1..=3 {
            warnings.note(warning("gone", "pid 7"), now);
        }
        let (code, subject, noted) = warnings.iter().next().unwrap();
        assert_eq!((code, subject), ("gone", Some("pid 7")));
        assert_eq!((noted.count, noted.first, noted.last), (3, 1, 3));
        assert_eq!(warnings.texts(), ["gone of pid 7"]);
    }

    #[test]
    fn what_is_said_of_many_processes_is_told_once() {
        let mut warnings = Warnings::default();
        for pid in [7, 12, 431] {
            let text = format!("names in process {pid} are not known");
            warnings.note(Warning::new("unnamed", &pid, text), 1);
        }
        warnings.note(warning("gone", "pid 7"), 2);
        assert_eq!(
            warnings.texts(),
            [
                "names in process 7 are not known (and the same of 2 more)",
                "gone of pid 7"
            ]
        );
    }

    #[test]
    fn forty_thousand_subjects_take_no_more_room_than_a_few_and_are_admitted() {
        let mut warnings = Warnings::default();
        for n in 0..40_000 {
            warnings.note(warning("gone", &format!("pid {n}")), n);
            warnings.note(warning(&format!("kind {n}"), ""), n);
        }
        assert!(warnings.len() < SUBJECTS + KINDS + 3);
        let texts = warnings.texts();
        assert!(
            texts
                .iter()
                .any(|text| text.starts_with("39968 more warnings like")),
            "{texts:?}"
        );
        assert!(texts.iter().any(|text| text.ends_with("of other kinds")));
    }
}
