//! Which top modules a source file names: `crate::a`, `crate::{a, b::c}` and `super::…` chains that
//! reach the crate root. Comments and the test module at the end are not looked at.

/// A name of a top module, and the line it is on.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    pub line: usize,
    pub module: String,
}

/// `depth`: how many `super`s lead from this file to the crate root.
pub fn of(source: &str, depth: usize, modules: &[String]) -> Vec<Import> {
    let code = without_comments(shipped(source));
    let to_root = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", to_root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let (Some(before), Some(rest)) = (code.get(..at), code.get(at + prefix.len()..)) else {
                continue;
            };
            // `$crate::` and `other_crate::` are not this; `super::super::` is found at its start.
            if before.ends_with(is_path_char) {
                continue;
            }
            found.extend(names_at(rest).into_iter().filter_map(|(offset, name)| {
                let start = at + prefix.len() + offset;
                modules.iter().any(|module| module == name).then(|| Import {
                    line: line_of(&code, start),
                    module: name.to_owned(),
                })
            }));
        }
    }
    found.sort_by(|a, b| (a.line, &a.module).cmp(&(b.line, &b.module)));
    found.dedup();
    found
}

/// The first segment of a path, or of every path in a group, with its place in `rest`.
fn names_at(rest: &str) -> Vec<(usize, &str)> {
    if !rest.starts_with('{') {
        return first_segment(rest, 0).into_iter().collect();
    }
    let mut names = Vec::new();
    let mut level = 0usize;
    let mut fresh = false;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => {
                level += 1;
                fresh = level == 1;
            }
            '}' => {
                level = level.saturating_sub(1);
                if level == 0 {
                    break;
                }
            }
            ',' => fresh = level == 1,
            c if fresh && !c.is_whitespace() => {
                names.extend(first_segment(rest, at));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn first_segment(text: &str, at: usize) -> Option<(usize, &str)> {
    let name = text
        .get(at..)?
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    (!name.is_empty()).then_some((at, name))
}

/// The file up to its test module: tests come last, and may look at anything.
fn shipped(source: &str) -> &str {
    let tests = source.match_indices("#[cfg(test)]").find(|(at, marker)| {
        let rest = source
            .get(at + marker.len()..)
            .unwrap_or_default()
            .trim_start();
        rest.starts_with("mod ") && rest.lines().next().is_some_and(|line| line.ends_with('{'))
    });
    tests.and_then(|(at, _)| source.get(..at)).unwrap_or(source)
}

/// Comment lines emptied, so that line numbers stay.
fn without_comments(source: &str) -> String {
    let kept = source.lines().map(|line| {
        if line.trim_start().starts_with("//") {
            ""
        } else {
            line
        }
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn line_of(code: &str, at: usize) -> usize {
    code.get(..at).unwrap_or_default().matches('\n').count() + 1
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, depth: usize) -> Vec<(usize, String)> {
        let modules = ["model", "sink", "track"].map(str::to_owned);
        of(source, depth, &modules)
            .into_iter()
            .map(|i| (i.line, i.module))
            .collect()
    }

    #[test]
    fn paths_and_groups() {
        let source = "use crate::model::Cookie;\n\
                      use crate::{\n    sink::{self, json},\n    track,\n};\n\
                      fn f() -> crate::sink::X { $crate::model::y() }\n";
        assert_eq!(
            found(source, 1),
            [
                (1, "model".into()),
                (3, "sink".into()),
                (4, "track".into()),
                (6, "sink".into())
            ]
        );
    }

    #[test]
    fn supers_that_reach_the_root() {
        assert_eq!(
            found("use super::super::sink::X;\nuse super::track;\n", 2),
            [(1, "sink".into())]
        );
        assert_eq!(found("use super::{sink, model};\n", 1).len(), 2);
    }

    #[test]
    fn comments_tests_and_other_names_do_not_count() {
        let source = "// crate::sink\nuse crate::prelude;\n#[cfg(test)]\nuse crate::model;\n\
                      #[cfg(test)]\nmod tests {\n    use crate::track;\n}\n";
        assert_eq!(found(source, 1), [(4, "model".into())]);
    }
}
