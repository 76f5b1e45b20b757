//! Writes what a run has found to where the user wants it, all of it, whatever fails.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::baseline::Baseline;
use super::destination::Destination;
use super::lines::Disarmed;
use super::together;
use crate::exit::{self, file_error};
use crate::model::outcome::{Checked, Outcome};
use crate::model::{report::Report, stack::Frame};
use crate::options::{Options, Run};
use crate::sink::human::{self, HumanOptions};
use crate::sink::paths::Root;
use crate::sink::{folded, github, json, junit, redact, sarif};
use crate::symbolize::blame::Policy;

const BASELINE: &str = "write the baseline to";

pub(super) struct Delivery<'a> {
    options: &'a Options,
    run: &'a Run,
    record: Option<Destination>,
    json: Option<Destination>,
    junit: Option<Destination>,
    sarif: Option<Destination>,
    folded: Option<Destination>,
    root: Root,
}

impl<'a> Delivery<'a> {
    pub(super) fn open(options: &'a Options, run: &'a Run) -> anyhow::Result<Self> {
        let to = &run.outputs;
        if let Some(path) = &run.known.write_baseline {
            writable(path)?;
        }
        let create = |doing, path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| Destination::create(doing, path))
                .transpose()
        };
        // A recording holds addresses and names.
        let record = options.record.as_deref();
        let record = record.map(|path| Destination::private("write the recording to", path));
        Ok(Self {
            options,
            run,
            record: record.transpose()?,
            json: create("write the report to", &to.json)?,
            junit: create("write JUnit XML to", &to.junit)?,
            sarif: create("write SARIF to", &to.sarif)?,
            folded: create("write folded stacks to", &options.folded)?,
            root: root(to.source_root.as_deref())?,
        })
    }

    pub(super) fn record(&self) -> Option<&File> {
        self.record.as_ref().map(Destination::file)
    }

    /// CMD did not run: there is nothing to write.
    pub(super) fn forsake(&self) {
        let spoken = [&self.json, &self.junit, &self.sarif];
        for file in spoken.into_iter().flatten() {
            file.forsake();
        }
        self.forsake_wordless();
    }

    /// What has no word for "not checked".
    fn forsake_wordless(&self) {
        for file in [&self.folded, &self.record].into_iter().flatten() {
            file.forsake();
        }
    }

    /// `report` is of all runs; `None` where nothing could be traced. What fails keeps nothing else from being written,
    /// and comes back.
    pub(super) fn deliver(&self, report: Option<&Report>, outcome: &Outcome) -> Vec<anyhow::Error> {
        let mut outcome = outcome.clone();
        let mut report = report.cloned();
        if let Some(report) = &mut report
            && self.options.redact_addrs
        {
            redact::redact_remote_addresses(report);
            outcome.take_sites_from(&report.sites);
        }
        let mut done = vec![
            self.write_json(report.as_ref(), &outcome),
            self.write_baseline(&outcome),
        ];
        match (&report, &self.folded) {
            (None, _) => self.forsake_wordless(),
            (Some(report), Some(to)) => {
                done.push(to.write(|out| folded::write_report(out, report)));
            }
            (Some(_), None) => {}
        }
        done.extend(self.for_ci(&outcome));
        done.push(self.tell(&outcome, report.as_ref()));
        let failed = done.into_iter().filter_map(Result::err);
        // Who reads may leave at any time.
        failed
            .filter(|error| exit::code_for(error) != exit::DONE)
            .collect()
    }

    fn write_json(&self, report: Option<&Report>, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(to) = &self.json else {
            return Ok(());
        };
        let mut report = match report {
            Some(report) => report.clone(),
            None => together::of_nothing(self.options.min_age, outcome),
        };
        if let Checked::Not { why } = &outcome.checked {
            report.window.complete = false;
            report
                .warnings
                .push(format!("NOT CHECKED for leaks: {why}"));
        }
        to.write(|out| json::write_report(out, &report))
    }

    fn for_ci(&self, outcome: &Outcome) -> Vec<anyhow::Result<()>> {
        let mut outcome = outcome.clone();
        if !self.run.outputs.show_addrs {
            for finding in &mut outcome.findings {
                redact::redact_all_but_loopback(&mut finding.site);
            }
            for note in &mut outcome.notes {
                *note = redact::without_addresses(std::mem::take(note));
            }
        }
        let root = &self.root;
        let version = env!("CARGO_PKG_VERSION");
        let mut done = Vec::new();
        if let Some(to) = &self.junit {
            done.push(to.write(|out| junit::write(out, &outcome, root)));
        }
        if let Some(to) = &self.sarif {
            done.push(to.write(|out| sarif::write(out, &outcome, version, root)));
        }
        if self.run.outputs.github {
            let mut out = BufWriter::new(io::stdout().lock());
            let annotated = github::write_annotations(&mut out, &outcome, root);
            done.push(
                annotated.map_err(|error| {
                    file_error("write annotations to", Path::new("stdout"), error)
                }),
            );
            if let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) {
                done.push(append(&path, &github::summary(&outcome, root)));
            }
        }
        done
    }

    /// Everything that would fail without it.
    fn write_baseline(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(path) = &self.run.known.write_baseline else {
            return Ok(());
        };
        let known = Baseline::of(outcome.findings.iter().map(|finding| &finding.site));
        let text = known.text()?;
        Destination::create(BASELINE, path)?.write(|out| out.write_all(text.as_bytes()))
    }

    /// For the person who reads the log. A closed stderr is no failure of the run.
    fn tell(&self, outcome: &Outcome, report: Option<&Report>) -> anyhow::Result<()> {
        let policy = Policy {
            not_blamed: self.options.not_blame.clone(),
            ..Policy::default()
        };
        let is_application = |frame: &Frame| policy.is_application(frame);
        let options = HumanOptions {
            color: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
            width: width(),
            verbose: self.options.verbosity > 0,
            every_frame: self.options.verbosity > 1,
            time_zone: TimeZone::system(),
            scope: None,
            is_application: &is_application,
        };
        let mut out = Disarmed::new(io::stderr());
        match human::write_outcome(&mut out, outcome, report, &options) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(file_error(
                "write the report to",
                Path::new("stderr"),
                error,
            )),
            _ => Ok(()),
        }
    }
}

/// Left as it is until the end: it may be the baseline that is compared with.
fn writable(path: &Path) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| file_error(BASELINE, path, error))?;
    Ok(())
}

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| file_error("add the summary to", path, error))
}

/// As debug information names it: absolute, without links where that can be had.
fn root(asked: Option<&Path>) -> anyhow::Result<Root> {
    let path = asked.unwrap_or(Path::new("."));
    let found = fs::canonicalize(path);
    let found = found.map_err(|error| file_error("look for sources in", path, error))?;
    Ok(Root::new(found))
}

fn width() -> usize {
    const DEFAULT: usize = 100;
    let size = rustix::termios::tcgetwinsize(io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns > 0 { columns } else { DEFAULT }
}
