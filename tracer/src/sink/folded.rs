//! Stacks of stuck sockets as flame graph tools read them: one finding a line, outermost frame first,
//! then how many sockets it has.

use std::fmt::Write as _;
use std::io;

use super::telling::{frames_of, telling};
use crate::model::report::{Report, Site, StackName};
use crate::model::stack::Frame;
use crate::model::untrusted::Escaped;

/// Every stuck socket is in one line, so that the counts add up to those of the report.
pub fn write_report(out: &mut dyn io::Write, report: &Report) -> io::Result<()> {
    for site in &report.sites {
        writeln!(out, "{} {}", line(site), site.count)?;
    }
    out.flush()
}

/// The process is the root: its own functions come after it, outermost first.
fn line(site: &Site) -> String {
    let process = site.process.as_ref();
    let mut line = String::new();
    push(
        &mut line,
        process.map_or("[no process]", |process| process.comm.raw()),
    );
    let stack = telling(site);
    let frames = stack.and_then(|name| frames_of(site, name));
    match (stack, frames) {
        (Some(name), Some(frames)) => {
            if is_truncated(site, name) {
                push(&mut line, "[callers missing]");
            }
            for frame in frames.iter().rev() {
                push(&mut line, &shown(frame));
            }
        }
        _ => push(&mut line, "[no stack]"),
    }
    line
}

fn is_truncated(site: &Site, name: StackName) -> bool {
    site.truncated_stacks.contains(&name)
}

fn shown(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| frame.place())
}

/// Names can hold what separates frames and lines.
fn push(line: &mut String, name: &str) {
    if !line.is_empty() {
        line.push(';');
    }
    let name = Escaped(name).to_string().replace(';', "\\x3b");
    // Writing into a String cannot fail.
    let _ = write!(line, "{name}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples;

    fn written(report: &Report) -> String {
        let mut out = Vec::new();
        write_report(&mut out, report).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_finding_is_one_line_and_every_socket_is_counted() {
        for (name, report) in samples::all() {
            let text = written(&report);
            assert_eq!(text.lines().count(), report.sites.len(), "{name}");
            let counted = text.lines().map(|line| {
                let (_, count) = line.rsplit_once(' ').unwrap();
                count.parse::<u64>().unwrap()
            });
            let expected: u64 = report.sites.iter().map(|site| site.count).sum();
            assert_eq!(counted.sum::<u64>(), expected, "{name}");
        }
    }

    #[test]
    fn the_process_comes_first_and_the_blamed_function_is_among_its_frames() {
        let mut compared = 0;
        for (name, report) in samples::all() {
            for (site, line) in report.sites.iter().zip(written(&report).lines()) {
                let Some(process) = &site.process else {
                    continue;
                };
                let mut frames = line.split(';');
                let comm = frames.next().unwrap();
                assert_eq!(
                    comm,
                    process.comm.to_string().replace(';', "\\x3b"),
                    "{name}"
                );
                if let (Some(blame), Some(_)) = (&site.blame, telling(site)) {
                    let function = blame.function.to_string().replace(';', "\\x3b");
                    assert!(line.contains(&function), "{name}: {line}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 0);
    }

    #[test]
    fn names_cannot_make_frames_or_lines() {
        let mut report = samples::hostile_names();
        let site = report.sites.first_mut().unwrap();
        let frame = Frame {
            function: Some("a;b\nc 7".to_owned()),
            ..Frame::default()
        };
        site.stacks.eof = Some(vec![frame.clone()]);
        site.stacks.last_used = Some(vec![frame.clone()]);
        site.stacks.opened = Some(vec![frame]);
        site.stacks.holders.clear();
        let text = written(&report);
        assert_eq!(text.lines().count(), report.sites.len());
        let first = text.lines().next().unwrap();
        assert!(first.contains("a\\x3bb\\x0ac 7"), "{first}");
    }
}
