//! Does the report name the leak? Reads what was printed for people, because that is what counts.

use std::fs;

use anyhow::{Context as _, Result};

use super::service::{NAME, SOURCE};
use crate::repo;
use crate::trouble::Trouble;

/// The function of the service that forgets its clients.
pub const FUNCTION: &str = "handle_client_and_forget";
/// The function of the service that closes those it does not forget.
pub const CLOSES: &str = "finish_connection";
/// What the line to blame does.
const READS: &str = "read_request(fd";

/// The place a report blames, and what is written there.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub code: String,
}

/// The blamed place, if the report names the service, the function, and the line that leaks.
pub fn blamed(report: &str) -> Result<Place> {
    let source =
        fs::read_to_string(repo::root().join(SOURCE)).with_context(|| format!("read {SOURCE}"))?;
    let plain = without_colour(report);
    find(&plain, &source).ok_or_else(|| {
        Trouble::error(
            format!("the report does not name {FUNCTION} of {NAME} in {SOURCE}, with its line"),
            "the part headed \"What this report could not see\" says what was missing, such as user \
             stacks before Linux 5.15; a very busy machine can also be too slow for the demo",
            "see `sudo target/debug/sockleak doctor`; if nothing is missing there, run the demo \
             again, and then please report it",
        )
    })
}

/// What a report says of the connections that are closed.
#[derive(Debug, PartialEq, Eq)]
pub enum Siblings {
    Told,
    /// Accept sites cannot be had on this host, and the report says so.
    NotSeenHere,
}

/// Does the report say how connections from the same place are closed? Only a host that tells where they
/// were accepted can show it.
pub fn check_siblings(report: &str) -> Result<Siblings> {
    let words = without_colour(report);
    let words: Vec<&str> = words.split_whitespace().collect();
    let told = words.join(" ");
    if told.contains("opened at the same place were closed meanwhile in finish_connection") {
        return Ok(Siblings::Told);
    }
    if told.contains("nothing tells which code accepted a connection") {
        return Ok(Siblings::NotSeenHere);
    }
    Err(Trouble::error(
        format!("the report does not say that {CLOSES} closes the other connections"),
        "no stack of its close() was copied; the part headed \"What this report could not see\" \
         says why",
        "run the demo again on a less busy machine, and then please report it",
    ))
}

fn find(report: &str, source: &str) -> Option<Place> {
    if !report.contains(NAME) {
        return None;
    }
    // However narrow the terminal: line breaks and columns do not count.
    let words: String = report.split_whitespace().collect();
    let marker = format!("blame{FUNCTION}(");
    words.match_indices(&marker).find_map(|(at, _)| {
        let rest = words.get(at + marker.len()..)?;
        let (file, line) = rest.split_once(')')?.0.rsplit_once(':')?;
        let line: usize = line.parse().ok()?;
        let code = source.lines().nth(line.checked_sub(1)?)?.trim();
        (SOURCE.ends_with(file.rsplit('/').next()?) && code.contains(READS)).then(|| Place {
            file: file.to_owned(),
            line,
            code: code.to_owned(),
        })
    })
}

/// The text without the escape sequences that colour it.
fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "int x;\n    while (read_request(fd, request, sizeof request) > 0) {\n";

    fn report(blame: &str) -> String {
        format!("  process   {NAME}[7]\n  blame     {blame}\n  evidence  - Recv-Q is 0\n")
    }

    #[test]
    fn the_right_place_is_found_in_colour_and_on_a_narrow_terminal() {
        for blame in [
            format!("{FUNCTION} ({SOURCE}:2)"),
            format!("{FUNCTION}\n            (./{SOURCE}:2)"),
            format!("\x1b[1m{FUNCTION}\x1b[0m ({SOURCE}:2)"),
        ] {
            let plain = without_colour(&report(&blame));
            let place = find(&plain, CODE).unwrap_or_else(|| panic!("{plain}"));
            assert_eq!(place.line, 2);
            assert!(place.code.starts_with("while (read_request(fd"));
        }
    }

    #[test]
    fn the_sentence_on_siblings_is_found_however_it_is_wrapped() {
        let sentence = "- 12 connections opened at the\n   same place were closed meanwhile in \
                        \x1b[1mfinish_connection\x1b[0m; these 20 were not";
        assert_eq!(check_siblings(sentence).unwrap(), Siblings::Told);
        let unseen = "hook inet_csk_accept is unavailable: ...; without it nothing tells which\n  \
                      code accepted a connection";
        assert_eq!(check_siblings(unseen).unwrap(), Siblings::NotSeenHere);
        assert!(check_siblings("20 connections were read to the end").is_err());
    }

    #[test]
    fn another_function_file_or_line_is_not_enough() {
        for blame in [
            format!("main ({SOURCE}:2)"),
            format!("{FUNCTION} (other.c:2)"),
            format!("{FUNCTION} ({SOURCE}:1)"),
            format!("{FUNCTION} ({SOURCE}:99)"),
            FUNCTION.to_owned(),
            "no function".to_owned(),
        ] {
            assert_eq!(find(&report(&blame), CODE), None, "{blame}");
        }
        let elsewhere = report(&format!("{FUNCTION} ({SOURCE}:2)")).replace(NAME, "other");
        assert_eq!(find(&elsewhere, CODE), None);
    }
}
