//! `sockleak explain`: what a verdict means. Asks nothing of the machine.

use std::io::{self, Write};

use anyhow::Context;

use super::terminal;
use crate::{diagnose, exit, model::verdict::Verdict, sink::human};

pub fn run(verdict: Option<Verdict>) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let written = match verdict {
        Some(verdict) => {
            let page = (terminal::color(false), terminal::width());
            let verdict_doc =
                diagnose::verdict_doc(verdict).context("no rule gives this verdict")?;
            human::write_verdict_doc(&mut out, verdict, &verdict_doc, page)
        }
        None => list(&mut out),
    };
    written.context("write to stdout")?;
    Ok(exit::DONE)
}

fn list(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Why a socket is stuck; `sockleak explain NAME` says more.\n"
    )?;
    let names = Verdict::ALL.iter().map(|verdict| verdict.name().len());
    let width = names.max().unwrap_or(0);
    for verdict in Verdict::ALL {
        writeln!(out, "  {verdict:width$}  {}", verdict.title())?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(verdict: Verdict) -> String {
        let mut out = Vec::new();
        let verdict_doc = diagnose::verdict_doc(verdict).unwrap();
        human::write_verdict_doc(&mut out, verdict, &verdict_doc, (false, 80)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_verdict_is_told_whole_and_in_known_terms() {
        for verdict in Verdict::ALL {
            let text = announced(verdict);
            assert!(text.starts_with(&format!("{verdict}: ")), "{text}");
            for label in ["happened", "proof", "blames", "do"] {
                assert!(
                    text.lines()
                        .any(|line| line.trim_start().starts_with(label)),
                    "{text}"
                );
            }
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
        }
        let text = announced(Verdict::EofIgnored);
        assert!(
            text.contains("CLOSE_WAIT: the state of a connection"),
            "{text}"
        );
        assert!(!text.contains("Send-Q:"), "{text}");
    }
}
