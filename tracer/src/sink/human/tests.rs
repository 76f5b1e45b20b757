use super::*;
use crate::model::report::Totals;
use crate::model::untrusted::is_unsafe_to_show;
use crate::sink::samples::{self, golden, is_application};

fn options(width: usize) -> HumanOptions<'static> {
    HumanOptions {
        color: false,
        width,
        verbose: false,
        time_zone: TimeZone::UTC,
        scope: None,
        is_application: &is_application,
    }
}

fn rendered(report: &Report, options: &HumanOptions<'_>) -> String {
    let mut out = Vec::new();
    write_report(&mut out, report, options).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_sample_reads_as_agreed() {
    for (name, report) in samples::all() {
        golden(name, &rendered(&report, &options(100)));
    }
}

#[test]
fn verbose_adds_sockets_threads_and_stacks() {
    let verbose = HumanOptions {
        verbose: true,
        ..options(100)
    };
    golden(
        "verbose-eof-ignored",
        &rendered(&samples::eof_ignored(), &verbose),
    );
    golden(
        "verbose-worker-starvation",
        &rendered(&samples::worker_starvation(), &verbose),
    );
    golden(
        "verbose-never-accepted",
        &rendered(&samples::never_accepted(), &verbose),
    );
}

#[test]
fn a_narrow_terminal_wraps() {
    golden("narrow", &rendered(&samples::losses(), &options(60)));
}

#[test]
fn colour_only_adds_codes() {
    let colored = HumanOptions {
        color: true,
        ..options(100)
    };
    let text = rendered(&samples::losses(), &colored);
    golden("color", &text.replace('\u{1b}', "␛"));
    let stripped = anstream::adapter::strip_str(&text).to_string();
    assert_eq!(stripped, rendered(&samples::losses(), &options(100)));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_drives_it() {
    for (name, report) in samples::all() {
        for width in [60, 80, 100, 200] {
            for line in rendered(&report, &options(width)).lines() {
                let columns = textwrap::core::display_width(line);
                assert!(
                    columns <= width,
                    "{name} at {width}: {columns} columns: {line}"
                );
                assert!(!line.contains(is_unsafe_to_show), "{name}: {line:?}");
            }
        }
    }
}

#[test]
fn a_run_with_losses_and_no_sites_is_not_called_clean() {
    let mut report = samples::losses();
    report.sites.clear();
    report.totals = Totals::default();
    golden(
        "nothing-found-after-losses",
        &rendered(&report, &options(100)),
    );
}

#[test]
fn live_lines_are_one_line_each() {
    let at = "2026-03-01T13:05:12.7Z".parse().unwrap();
    let mut out = Vec::new();
    for (_, report) in samples::all() {
        for site in &report.sites {
            write_site_found(&mut out, site, at, &options(100)).unwrap();
        }
    }
    golden("sites-found", &String::from_utf8(out).unwrap());
}

#[test]
fn the_status_line_never_wraps() {
    let progress = Progress {
        elapsed: std::time::Duration::from_millis(20_400),
        min_age: std::time::Duration::from_mins(1),
        close_wait: 120,
        stuck: 117,
        sites: 3,
        events: 12_345,
        lost: 0,
    };
    let whole =
        "watching 20s · 120 in CLOSE_WAIT, 117 stuck ≥ 60s · 3 sites · 12,345 events, 0 lost";
    assert_eq!(status_line(&progress, 100), whole);
    assert_eq!(status_line(&progress, 40).chars().count(), 40);
}
