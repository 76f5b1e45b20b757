use super::*;
use crate::model::report::Totals;
use crate::model::untrusted::is_unsafe_to_show;
use crate::sink::samples::{self, golden, is_application};

fn options(width: usize) -> HumanOptions<'static> {
    HumanOptions {
        color: false,
        width,
        verbose: false,
        every_frame: false,
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

/// The calls of a thread that runs are not those of now.
#[test]
fn a_thread_that_was_sampled_is_told_with_what_it_was_in() {
    // However the lines are broken.
    let words = |report: &Report| {
        let text = rendered(report, &options(100));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut report = samples::worker_starvation();
    for holder in &mut report.sites[0].stacks.holders {
        (holder.state, holder.syscall, holder.fd) = (Some('R'), None, None);
        (holder.since_seconds, holder.samples) = (None, Some(50));
    }
    let first = report.sites[0].stacks.holders[0].stack.iter();
    let own = first.clone().find(|frame| is_application(frame));
    let own = own.and_then(|frame| frame.function.clone()).unwrap();
    let text = words(&report);
    assert!(
        text.contains(&format!(", on CPU in {own} (50 samples)")),
        "{text}"
    );
    assert!(
        text.contains("were when sampled, innermost call first"),
        "{text}"
    );
    report.sites[0].stacks.holders[0].stack.clear();
    report.sites[0].stacks.holders.truncate(1);
    let text = words(&report);
    assert!(text.contains(", on CPU (50 samples)"), "{text}");
}

/// Whoever reads it should not look for the fault in the library.
#[test]
fn a_library_is_named_as_such() {
    let mut report = samples::eof_ignored();
    let blame = report.sites[0].blame.as_mut().unwrap();
    blame.library = Some(crate::model::untrusted::Untrusted::new("redis".to_owned()));
    let text = rendered(&report, &options(200));
    assert!(text.contains("library: redis, "), "{text}");
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

#[test]
fn a_watch_shorter_than_the_threshold_promises_nothing() {
    let mut report = samples::nothing_found();
    report.window.start = "2026-03-01T13:04:52Z".parse().unwrap();
    report.totals.suppressed = 2;
    let options = HumanOptions {
        scope: Some("pid 4242 and its children".into()),
        ..options(100)
    };
    golden("nothing-found-too-short", &rendered(&report, &options));
}

#[test]
fn sockets_without_a_site_are_not_passed_over() {
    let mut report = samples::nothing_found();
    report.totals.stuck = 2;
    let text = rendered(&report, &options(100));
    assert!(
        text.starts_with("2 sockets are stuck, but none could be"),
        "{text}"
    );
}

#[test]
fn many_sites_are_cut_and_counted() {
    let mut report = samples::eof_ignored();
    report.sites = (0..23)
        .map(|nth| {
            let mut site = report.sites[0].clone();
            site.count = 100 - nth;
            site
        })
        .collect();
    let text = rendered(&report, &options(100));
    assert_eq!(text.matches("LEAK ").count(), 20);
    assert!(text.contains("\n… 3 more places with 237 sockets (-v or --json shows all)\n"));
    let verbose = HumanOptions {
        verbose: true,
        ..options(100)
    };
    assert_eq!(rendered(&report, &verbose).matches("LEAK ").count(), 23);
}

#[test]
fn long_stacks_are_cut_and_say_so() {
    let mut report = samples::eof_ignored();
    let frames = report.sites[0].stacks.eof.as_mut().unwrap();
    let own = frames[1].clone();
    frames.splice(3..3, std::iter::repeat_n(own, 30));
    let text = rendered(&report, &options(100));
    assert!(text.contains("… 27 more frames (-v shows all)"), "{text}");
    assert_eq!(text.matches("> handle_client").count(), 1);
}

#[test]
fn what_stuck_means_in_a_run_is_said_of_what_an_exit_closed_as_well() {
    let means = |exit_age_seconds| {
        let mut report = samples::eof_ignored();
        report.window.exit_age_seconds = exit_age_seconds;
        let text = rendered(&report, &options(200));
        let line = text.lines().find(|line| line.starts_with("Stuck means"));
        line.unwrap().to_owned()
    };
    let plain = "Stuck means in CLOSE_WAIT for 60s or longer: the peer hung up";
    for same in [None, Some(60.0)] {
        assert!(means(same).starts_with(plain), "{}", means(same));
    }
    let any = "for 60s or longer, or for any time until only an exit closed it: the peer";
    assert!(means(Some(0.0)).contains(any), "{}", means(Some(0.0)));
    let some = "for 60s or longer, or for 5s until only an exit closed it: the peer";
    assert!(means(Some(5.0)).contains(some), "{}", means(Some(5.0)));
}
