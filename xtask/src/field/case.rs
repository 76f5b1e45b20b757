//! A case of `tests/field`: which software, how it is made to leak, and what is true of it. The keys are
//! explained in tests/field/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::repo;

#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// `NAME`, or `NAME:VARIANT`.
    pub name: String,
    #[serde(skip)]
    pub dir: PathBuf,
    pub software: String,
    #[serde(default)]
    pub report: Vec<String>,
    pub cause: String,
    #[serde(default)]
    pub needs: Needs,
    pub min_age: String,
    pub duration: String,
    #[serde(default = "three")]
    pub lead: f64,
    #[serde(default = "twenty")]
    pub setup: f64,
    #[serde(default = "one")]
    pub settle: f64,
    #[serde(default)]
    pub ready: Option<u16>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The sockets are hidden, or gone before the end.
    #[serde(default)]
    pub not_in_ss: bool,
    #[serde(default)]
    pub snapshot_expect: Option<Snapshot>,
    #[serde(flatten)]
    pub truth: Truth,
}

/// What is right to say, and what is wrong.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Truth {
    #[serde(default)]
    pub sockets: u64,
    #[serde(default)]
    pub expect: Vec<Part>,
    pub never: Option<Vec<String>>,
    pub findings: Option<usize>,
    pub innocent: Option<String>,
    pub absent: Option<String>,
    #[serde(default)]
    pub clean: bool,
    pub or_warning: Option<String>,
}

/// One acceptable outcome, for all sockets or for so many.
#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    pub verdict: Vec<String>,
    #[serde(default)]
    pub share: Share,
    pub function: Option<String>,
    #[serde(default, rename = "where")]
    pub place: Place,
    pub severity: Option<String>,
    pub evidence: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Share {
    Sockets(u64),
    Word(All),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    All,
}

impl Default for Share {
    fn default() -> Self {
        Self::Word(All::All)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    #[default]
    Blame,
    Stack,
    Threads,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    #[serde(default)]
    pub wait: f64,
    pub min_age: Option<String>,
    #[serde(flatten)]
    pub truth: Truth,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    #[serde(default)]
    pub apt: Vec<String>,
    #[serde(default)]
    pub pip: Vec<String>,
    #[serde(default)]
    pub npm: Vec<String>,
    /// `node`, or `node:nodejs` with its package.
    #[serde(default)]
    pub commands: Vec<String>,
    pub python: Option<String>,
    /// The case whose `app/` is built.
    pub cargo: Option<String>,
    #[serde(default)]
    pub jdk25: bool,
}

const fn one() -> f64 {
    1.0
}

const fn three() -> f64 {
    3.0
}

const fn twenty() -> f64 {
    20.0
}

pub fn root() -> PathBuf {
    repo::root().join("tests/field")
}

/// All cases and variants, in the order of their names.
pub fn load() -> Result<Vec<Case>> {
    let folder = root().join("cases");
    let mut dirs: Vec<PathBuf> = fs::read_dir(&folder)
        .with_context(|| format!("read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("case.json").is_file())
        .collect();
    dirs.sort();
    let mut cases = Vec::new();
    for dir in dirs {
        let file = dir.join("case.json");
        cases.extend(variants(&dir).with_context(|| format!("read {}", repo::shown(&file)))?);
    }
    Ok(cases)
}

fn variants(dir: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(dir.join("case.json"))?;
    let mut base: Value = serde_json::from_str(&text)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    ensure!(
        base.get("name").and_then(Value::as_str) == Some(&*name),
        "its name is not that of its folder"
    );
    let changes = base
        .as_object_mut()
        .and_then(|fields| fields.remove("variants"));
    let Some(Value::Object(changes)) = changes else {
        return Ok(vec![case(dir, base)?]);
    };
    changes
        .into_iter()
        .map(|(variant, change)| {
            let mut whole = base.clone();
            replace(&mut whole, change);
            if let Some(fields) = whole.as_object_mut() {
                fields.insert("name".to_owned(), format!("{name}:{variant}").into());
            }
            case(dir, whole)
        })
        .collect()
}

fn case(dir: &Path, value: Value) -> Result<Case> {
    let mut case: Case = serde_json::from_value(value)?;
    case.dir = dir.to_path_buf();
    Ok(case)
}

/// A variant replaces keys of the case, and adds to its environment.
fn replace(base: &mut Value, change: Value) {
    let (Some(base), Value::Object(change)) = (base.as_object_mut(), change) else {
        return;
    };
    for (key, value) in change {
        match (key.as_str(), base.get_mut(&key), value) {
            ("env", Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (_, _, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `500ms`, `4s`, `2m`.
pub fn duration(text: &str) -> Result<Duration> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(number.len()..).unwrap_or_default();
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => anyhow::bail!("`{text}` is no duration"),
    };
    let number: f64 = number
        .parse()
        .with_context(|| format!("`{text}` is no duration"))?;
    Ok(Duration::from_secs_f64(number * factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn every_case_is_whole() {
        let cases = load().unwrap();
        assert!(cases.len() >= 60);
        for case in &cases {
            let said = |what: &str| format!("{}: {what}", case.name);
            assert!(case.dir.join("run.sh").is_file(), "{}", said("no run.sh"));
            assert!(!case.cause.is_empty(), "{}", said("no cause"));
            duration(&case.min_age).unwrap();
            duration(&case.duration).unwrap();
            let truth = &case.truth;
            let told = truth.clean || !truth.expect.is_empty();
            assert!(told, "{}", said("nothing is expected"));
            let patterns = truth
                .expect
                .iter()
                .flat_map(|part| [&part.function, &part.evidence]);
            for pattern in patterns.chain([&truth.innocent, &truth.absent]).flatten() {
                Regex::new(&pattern.replace("{port+1}", "1")).unwrap();
            }
        }
    }

    #[test]
    fn a_variant_replaces_keys_and_adds_to_the_environment() {
        let mut base = serde_json::json!({"env": {"A": "1"}, "sockets": 3});
        replace(
            &mut base,
            serde_json::json!({"env": {"B": "2"}, "sockets": 4}),
        );
        assert_eq!(
            base,
            serde_json::json!({"env": {"A": "1", "B": "2"}, "sockets": 4})
        );
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m").unwrap(), Duration::from_mins(2));
        assert!(duration("7").is_err());
    }
}
