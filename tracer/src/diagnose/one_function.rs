//! Calls in one function of a program without line numbers: nothing that is told tells them apart, so they are one
//! finding.

use std::collections::{BTreeMap, hash_map::Entry};

use foldhash::HashMap;

use super::{
    EvidenceSource,
    grouping::{Classified, blamed_frame},
};
use crate::model::verdict::Verdict;

/// Moves the members of groups that blame one function to the first of these, whose id stands for all.
pub fn join(groups: &mut BTreeMap<String, Vec<Classified<'_>>>) {
    let mut firsts: HashMap<Function<'_>, String> = HashMap::default();
    let mut same: Vec<(String, String)> = Vec::new();
    for (key, members) in groups.iter() {
        let Some(function) = members.first().and_then(Function::of) else {
            continue;
        };
        match firsts.entry(function) {
            Entry::Vacant(first) => {
                first.insert(key.clone());
            }
            Entry::Occupied(first) => same.push((key.clone(), first.get().clone())),
        }
    }
    for (key, first) in same {
        let moved = groups.remove(&key).unwrap_or_default();
        groups.entry(first).or_default().extend(moved);
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Function<'a> {
    verdict: Verdict,
    evidence_source: EvidenceSource,
    program: Option<&'a str>,
    build_id: &'a str,
    name: &'a str,
}

impl<'a> Function<'a> {
    /// None where a line tells where in the function it is, or nothing tells that two of a name are one function.
    fn of((rule, view): &Classified<'a>) -> Option<Self> {
        let evidence_source = view.proof.as_ref()?.evidence_source;
        let frame = blamed_frame(evidence_source, view)?;
        if frame.line.is_some() {
            return None;
        }
        Some(Self {
            verdict: rule.verdict(),
            evidence_source,
            program: view.process().and_then(|process| process.exe.as_deref()),
            build_id: frame.build_id.as_deref()?,
            name: frame.function.as_deref()?,
        })
    }
}
