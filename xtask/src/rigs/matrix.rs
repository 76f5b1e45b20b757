//! Counts what was true beside what was said, and keeps every case that is off the diagonal.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::judgement::{Blamed, Judgement, Pair};
use crate::bench::document::Table;

/// The truth about a healthy twin, and what should be said of it.
const HEALTHY: &str = "healthy twin";
const NOTHING: &str = "nothing";

#[derive(Default)]
pub struct Tally {
    cells: BTreeMap<(String, String), u32>,
    languages: BTreeMap<String, BTreeSet<String>>,
    pub blame: Blame,
    /// Every wrong answer, with what the report said.
    pub troubles: Vec<String>,
    pub wrong_runs: u32,
}

/// How often the right function was blamed.
#[derive(Default)]
pub struct Blame {
    pub right: u32,
    pub nobody: u32,
    pub wrong: u32,
}

impl Tally {
    /// Takes one run in; returns it in a line.
    pub fn add(&mut self, rig: &str, outcome: Result<Judgement>) -> String {
        let before = self.troubles.len();
        let line = match outcome {
            Ok(judgement) => self.count(rig, &judgement),
            Err(error) => {
                self.troubles.push(format!("{rig}: no answer: {error:#}"));
                "no answer".to_owned()
            }
        };
        self.wrong_runs += u32::from(self.troubles.len() > before);
        line
    }

    fn count(&mut self, rig: &str, judgement: &Judgement) -> String {
        if judgement.lost > 0 {
            self.troubles
                .push(format!("{rig}: {} events lost", judgement.lost));
        }
        let mut words = Vec::new();
        let of_rig = judgement.pairs.iter().map(|pair| (NOTHING, pair));
        let of_twin = judgement.twin.iter().map(|pair| (HEALTHY, pair));
        for (truth, pair) in of_rig.chain(of_twin) {
            let expected = pair.expected.as_deref().unwrap_or(truth);
            let given = pair.given.as_deref().unwrap_or(NOTHING);
            *self
                .cells
                .entry((expected.to_owned(), given.to_owned()))
                .or_default() += 1;
            match pair.blame {
                Blamed::Unchecked => {}
                Blamed::Nobody => self.blame.nobody += 1,
                Blamed::Right => self.blame.right += 1,
                Blamed::Wrong(_) => self.blame.wrong += 1,
            }
            if truth == NOTHING {
                let languages = self.languages.entry(expected.to_owned()).or_default();
                languages.insert(judgement.language.clone());
            }
            if pair.is_right() {
                words.push(if truth == HEALTHY {
                    "twin clean".to_owned()
                } else {
                    given.to_owned()
                });
            } else {
                words.push(format!("{expected} → {given} WRONG"));
                self.troubles.push(told(rig, expected, given, pair));
            }
        }
        words.join(", ")
    }

    /// Rows are what is true, columns what was said: a column with a row's number is that row's verdict.
    pub fn table(&self) -> String {
        let named = |name: &&String| *name != HEALTHY && *name != NOTHING;
        let truths: BTreeSet<&String> = self
            .cells
            .keys()
            .map(|(truth, _)| truth)
            .filter(named)
            .collect();
        let said = self.cells.keys().map(|(_, said)| said).filter(named);
        let strangers: BTreeSet<&String> = said.filter(|name| !truths.contains(name)).collect();
        let columns: Vec<&str> = truths
            .iter()
            .chain(&strangers)
            .map(|name| name.as_str())
            .collect();
        let mut heads = vec!["what is true".to_owned(), "languages".to_owned()];
        heads.extend((1..=truths.len()).map(|number| number.to_string()));
        heads.extend(strangers.iter().map(|name| format!("`{name}`")));
        heads.push(NOTHING.to_owned());
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut table = Table::new(&heads);
        for (index, truth) in truths.iter().enumerate() {
            let languages = self.languages.get(*truth).into_iter().flatten();
            let languages: Vec<&str> = languages.map(String::as_str).collect();
            let name = format!("{}\u{a0}`{truth}`", index + 1);
            table.row(&self.row(truth, vec![name, languages.join(", ")], &columns));
        }
        table.row(&self.row(HEALTHY, vec![HEALTHY.to_owned(), String::new()], &columns));
        table.text().to_owned()
    }

    fn row(&self, truth: &str, mut cells: Vec<String>, columns: &[&str]) -> Vec<String> {
        for said in columns.iter().chain(&[NOTHING]) {
            let count = self.cells.get(&(truth.to_owned(), (*said).to_owned()));
            cells.push(count.map(ToString::to_string).unwrap_or_default());
        }
        cells
    }
}

fn told(rig: &str, expected: &str, given: &str, pair: &Pair) -> String {
    let mut text = format!("{rig}: {expected}, and it says {given}");
    if let Blamed::Wrong(why) = &pair.blame {
        text = format!("{text}; blame: {why}");
    }
    for line in &pair.shown {
        text = format!("{text}\n    {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(text: &str) -> Judgement {
        serde_json::from_str(text).unwrap()
    }

    const CLEAN: &str =
        r#"[{"expected":null,"given":null,"right":true,"blame":"unchecked","shown":[]}]"#;

    fn run(pairs: &str, twin: &str) -> Judgement {
        judgement(&format!(
            r#"{{"rig":"r","language":"c","pairs":[{pairs}],"twin":{twin},"lost":0}}"#
        ))
    }

    #[test]
    fn right_answers_are_on_the_diagonal_and_no_trouble() {
        let mut tally = Tally::default();
        let right = r#"{"expected":"event-lost","given":"event-lost","right":true,"blame":"right","shown":[]}"#;
        assert_eq!(
            tally.add("r", Ok(run(right, CLEAN))),
            "event-lost, twin clean"
        );
        assert!(tally.troubles.is_empty() && tally.wrong_runs == 0);
        assert_eq!(tally.blame.right, 1);
        let table = tally.table();
        assert!(
            table.contains("| 1\u{a0}`event-lost` | c | 1 |  |"),
            "{table}"
        );
        assert!(table.contains("| healthy twin |  |  | 1 |"), "{table}");
    }

    #[test]
    fn every_other_answer_is_told_with_its_evidence() {
        let mut tally = Tally::default();
        let wrong = r#"{"expected":"event-lost","given":"never-read","right":false,"blame":"unchecked","shown":["why"]}"#;
        let accused =
            r#"[{"expected":null,"given":"unknown","right":false,"blame":"unchecked","shown":[]}]"#;
        tally.add("r", Ok(run(wrong, accused)));
        tally.add("s", Err(anyhow::anyhow!("it crashed")));
        assert_eq!((tally.troubles.len(), tally.wrong_runs), (3, 2));
        assert!(tally.troubles[0].contains("event-lost, and it says never-read\n    why"));
        let table = tally.table();
        assert!(
            table.contains("`never-read` | `unknown` | nothing |"),
            "{table}"
        );
    }

    #[test]
    fn a_wrong_blame_is_trouble_on_the_diagonal() {
        let mut tally = Tally::default();
        let pair = r#"{"expected":"event-lost","given":"event-lost","right":true,"blame":{"wrong":"main"},"shown":[]}"#;
        tally.add("r", Ok(run(pair, CLEAN)));
        assert_eq!((tally.blame.wrong, tally.wrong_runs), (1, 1));
        assert!(tally.troubles[0].contains("blame: main"));
    }
}
