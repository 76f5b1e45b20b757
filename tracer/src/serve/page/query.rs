//! The address of the page: what is filtered and which sites are open, so that a reload, a bookmark or a
//! message to a colleague shows the same.

use std::collections::BTreeSet;

use crate::model::report::Site;

const MAX_TEXT: usize = 200;
const MAX_OPEN: usize = 50;

#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::serve) struct Query {
    pub text: String,
    open: BTreeSet<String>,
}

impl Query {
    /// `q=words&open=id,id`; everything else is ignored.
    pub(in crate::serve) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            let value = decoded(value);
            match name {
                "q" => parsed.text = value.trim().chars().take(MAX_TEXT).collect(),
                "open" => {
                    let ids = value.split(',').filter(|id| !id.is_empty());
                    parsed.open.extend(ids.take(MAX_OPEN).map(str::to_owned));
                }
                _ => {}
            }
        }
        parsed
    }

    pub(super) fn is_open(&self, id: &str) -> bool {
        self.open.contains(id)
    }

    /// Every word must stand somewhere in what is shown of the site, in any case.
    pub(super) fn fits(&self, site: &Site) -> bool {
        if self.text.is_empty() {
            return true;
        }
        let text = searched(site).to_lowercase();
        self.text
            .to_lowercase()
            .split_whitespace()
            .all(|word| text.contains(word))
    }
}

fn searched(site: &Site) -> String {
    let mut parts = vec![
        site.id.clone(),
        site.verdict.name().to_owned(),
        site.severity.name().to_owned(),
        site.summary.clone(),
    ];
    if let Some(process) = &site.process {
        parts.push(process.comm.to_string());
        parts.push(process.pid.to_string());
        parts.extend(process.service.as_ref().map(ToString::to_string));
        parts.extend(process.exe.as_ref().map(ToString::to_string));
        parts.extend(process.cgroup.as_ref().map(ToString::to_string));
    }
    if let Some(blame) = &site.blame {
        parts.push(blame.function.to_string());
        parts.extend(blame.module.as_ref().map(ToString::to_string));
        parts.extend(blame.file.as_ref().map(ToString::to_string));
    }
    parts.extend(site.local.as_ref().map(ToString::to_string));
    parts.join("\n")
}

/// `+` is a blank, `%XX` a byte; what is neither stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let code = tail
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match (first, code) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_whatever_is_in_it() {
        let query = Query::parse("q=a%20b%2fc+%C3%A4&open=1f,2a&x=y");
        assert_eq!(query.text, "a b/c ä");
        assert!(query.is_open("1f") && query.is_open("2a") && !query.is_open("3"));
        for odd in [
            "", "&&", "q", "q=%", "q=%f", "q=%zz", "q=%ff%fe", "=x", "open=",
        ] {
            let _any = Query::parse(odd);
        }
        assert_eq!(
            Query::parse(&format!("q={}", "x".repeat(9999))).text.len(),
            MAX_TEXT
        );
    }

    #[test]
    fn damaged_queries_are_read() {
        crate::damaged::run("page-query", 20_000, |bytes| {
            Query::parse(&String::from_utf8_lossy(bytes));
        });
    }
}
