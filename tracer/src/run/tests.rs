//! What is known does not fail, what is new does; every file of the user's is understood or refused.

use super::baseline::Baseline;
use super::judge::Judge;
use super::suppress::Suppressions;
use super::{code, often, together};
use crate::exit;
use crate::model::outcome::{Checked, Fate, Outcome, Pass};
use crate::model::report::{Ended, EventCounts, Over, Report, Runs, Site};
use crate::model::verdict::Severity;
use crate::options::{HowOften, IfUnable, Known, Run, RunOutputs};
use crate::sink::samples;

fn run() -> Run {
    Run {
        command: vec!["true".into()],
        exit_age: std::time::Duration::from_secs(2),
        settle: std::time::Duration::from_secs(2),
        wait_children: std::time::Duration::ZERO,
        kill_children: false,
        fail_on: Severity::Leak,
        strict: false,
        error_exitcode: 23,
        outputs: RunOutputs::default(),
        known: Known::default(),
        how_often: HowOften::Once,
        until: None,
        timeout: None,
        if_unable: IfUnable::Fail,
    }
}

fn site() -> Site {
    let mut site = samples::eof_ignored().sites.remove(0);
    site.severity = Severity::Leak;
    site.fingerprint = "1-00aa".to_owned();
    site.count = 7;
    site
}

fn fate(run: &Run, suppressions: &str, baseline: Option<Baseline>, site: Site) -> Fate {
    let today = "2026-06-15".parse().unwrap();
    let mut judge = Judge {
        run,
        suppressions: Suppressions::parse(suppressions, today).unwrap(),
        baseline,
    };
    let mut report = samples::eof_ignored();
    report.sites = vec![site];
    judge.soften(&mut report);
    judge.findings(report.sites).remove(0).fate
}

fn over(how: Option<Ended>) -> Site {
    Site {
        over: Some(Over {
            ended: jiff::Timestamp::UNIX_EPOCH,
            how,
            longest_seconds: 3.0,
        }),
        ..site()
    }
}

#[test]
fn a_leak_fails_and_what_the_program_closed_does_not() {
    let run = run();
    assert_eq!(fate(&run, "", None, site()), Fate::Fails);
    assert_eq!(fate(&run, "", None, over(Some(Ended::Exit))), Fate::Fails);
    for how in [Some(Ended::Closed), Some(Ended::Reset), None] {
        assert_eq!(fate(&run, "", None, over(how)), Fate::Passes(Pass::Over));
    }
    let strict = Run {
        strict: true,
        ..run.clone()
    };
    assert_eq!(fate(&strict, "", None, over(None)), Fate::Fails);
    let mut pool = site();
    pool.severity = Severity::Info;
    let passes = Fate::Passes(Pass::Severity(Severity::Info));
    assert_eq!(fate(&run, "", None, pool.clone()), passes);
    let everything = Run {
        fail_on: Severity::Info,
        ..run
    };
    assert_eq!(fate(&everything, "", None, pool), Fate::Fails);
}

#[test]
fn a_suppression_names_a_leak_and_says_why() {
    let run = run();
    let site = site();
    let function = site.blame.as_ref().unwrap().function.raw().to_owned();
    for fitting in [
        "verdict = \"eof-ignored\"".to_owned(),
        format!("function = {function:?}"),
        "fingerprint = \"1-00aa\"".to_owned(),
        format!("site = {:?}\nexpires = \"2026-06-15\"", site.id),
    ] {
        let text = format!("[[suppress]]\nreason = \"ticket 7\"\n{fitting}\n");
        let reason = "ticket 7".to_owned();
        let passes = Fate::Passes(Pass::Suppressed { reason });
        assert_eq!(fate(&run, &text, None, site.clone()), passes, "{text}");
    }
    for other in [
        "verdict = \"never-read\"",
        "comm = \"another\"",
        "verdict = \"eof-ignored\"\nmodule = \"other.so\"",
        "verdict = \"eof-ignored\"\nexpires = \"2026-06-14\"",
    ] {
        let text = format!("[[suppress]]\nreason = \"x\"\n{other}\n");
        assert_eq!(fate(&run, &text, None, site.clone()), Fate::Fails, "{text}");
    }
}

#[test]
fn suppressions_out_of_use_are_told_and_mistakes_refused() {
    let today = "2026-06-15".parse().unwrap();
    let text = "[[suppress]]\nreason = \"a\"\nverdict = \"eof-ignored\"\nexpires = \"2026-01-01\"\n\
                [[suppress]]\nreason = \"b\"\nfunction = \"gone\"\n";
    let mut suppressions = Suppressions::parse(text, today).unwrap();
    assert_eq!(suppressions.of(&site()), None);
    let notes = suppressions.notes();
    assert!(
        notes[0].contains("expired on 2026-01-01, and its leak is still there"),
        "{notes:?}"
    );
    assert!(notes[1].contains("gone fits nothing"), "{notes:?}");
    for (wrong, words) in [
        ("[[suppress]]\nverdict = \"eof-ignored\"", "reason"),
        (
            "[[suppress]]\nreason = \" \"\nverdict = \"eof-ignored\"",
            "empty",
        ),
        ("[[suppress]]\nreason = \"x\"", "names nothing"),
        ("[[suppress]]\nreason = \"x\"\nverdict = \"eof\"", "eof"),
        ("[[suppress]]\nreason = \"x\"\nfunktion = \"f\"", "funktion"),
        (
            "[[suppress]]\nreason = \"x\"\ncomm = \"c\"\nexpires = \"soon\"",
            "no date",
        ),
        ("[[", ""),
    ] {
        let error = Suppressions::parse(wrong, today).unwrap_err();
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

#[test]
fn a_baseline_lets_pass_what_has_not_grown() {
    let text = Baseline::of([&site()]).text().unwrap();
    let baseline = || Some(Baseline::parse(&text).unwrap());
    let known = Fate::Passes(Pass::Known { before: 7 });
    assert_eq!(fate(&run(), "", baseline(), site()), known);
    let grown = Site { count: 8, ..site() };
    assert_eq!(fate(&run(), "", baseline(), grown.clone()), Fate::Fails);
    let mut patient = run();
    patient.known.max_growth = 1;
    assert_eq!(fate(&patient, "", baseline(), grown), known);
    let other = Site {
        fingerprint: "1-00ab".to_owned(),
        ..site()
    };
    assert_eq!(fate(&run(), "", baseline(), other), Fate::Fails);
    for (wrong, words) in [
        (text.replace("baseline/1", "baseline/2"), "baseline/2"),
        (text.replace("1-00aa", "2-00aa"), "another scheme"),
        ("{}".to_owned(), "schema"),
    ] {
        let error = Baseline::parse(&wrong).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn few_leaks_may_be_let_pass() {
    let mut run = run();
    run.known.max_leaks = 6;
    assert_eq!(fate(&run, "", None, site()), Fate::Fails);
    run.known.max_leaks = 7;
    let few = Fate::Passes(Pass::Few { allowed: 7 });
    assert_eq!(fate(&run, "", None, site()), few);
}

/// The last run found nothing, and two findings of the first look the same but for their place.
#[test]
fn the_report_of_several_runs_holds_each_finding_of_all() {
    let mut run = run();
    run.how_often = HowOften::Repeat(3);
    let one_run = |sites: Vec<Site>, warning: &str| {
        let mut report = Report {
            sites,
            warnings: vec![warning.to_owned()],
            ..samples::eof_ignored()
        };
        report.window.events = EventCounts {
            seen: 5,
            ..EventCounts::default()
        };
        report
    };
    let of_count = |count| Site { count, ..site() };
    let twin = Site {
        id: "elsewhere".to_owned(),
        ..of_count(1)
    };
    let first = one_run(vec![of_count(7), twin.clone()], "same");
    let second = one_run(vec![of_count(9)], "same");
    let mut last = one_run(Vec::new(), "another");
    last.totals.unjudged = 0;
    let mut reports = [first, second, last];
    reports[0].window.complete = false;
    reports[0].totals.unjudged = 2;
    let reports: Vec<&Report> = reports.iter().collect();
    let mut judge = Judge {
        run: &run,
        suppressions: Suppressions::default(),
        baseline: None,
    };
    let outcome = Outcome {
        command: "true".to_owned(),
        seconds: 1.0,
        checked: Checked::InPart,
        findings: often::findings(&run, &reports, &mut judge),
        notes: Vec::new(),
    };
    let all = together::report(&reports, &outcome).unwrap();
    let told = |site: &Site| (site.count, site.runs.map(|runs| (runs.appeared, runs.of)));
    let sites: Vec<_> = all.sites.iter().map(told).collect();
    assert_eq!(sites, [(9, Some((2, 3))), (1, Some((1, 3)))]);
    assert_eq!(all.sites[1].id, twin.id);
    assert_eq!((all.window.events.seen, all.totals.unjudged), (15, 2));
    assert!(!all.window.complete);
    assert_eq!(all.warnings, ["another", "same"]);
    let most = Some(Runs { appeared: 2, of: 3 });
    assert_eq!(outcome.findings[0].site.runs, most);
}

#[test]
fn an_output_that_failed_hides_nothing() {
    for (code, then) in [
        (exit::DONE, exit::FAILED),
        (exit::LEAK, exit::LEAK),
        (7, 7),
        (exit::NOT_APPEARED, exit::NOT_APPEARED),
    ] {
        assert_eq!(code::after_delivery(code, false), then);
        assert_eq!(code::after_delivery(code, true), code);
    }
}

#[test]
fn a_report_of_nothing_obeys_the_schema() {
    let outcome = Outcome {
        command: "true".to_owned(),
        seconds: 1.0,
        checked: Checked::Whole,
        findings: Vec::new(),
        notes: Vec::new(),
    };
    let report = together::of_nothing(run().settle, &outcome);
    assert!(!report.window.complete);
    let schema = include_str!("../../../docs/report.schema.json");
    let validator = jsonschema::draft202012::new(&serde_json::from_str(schema).unwrap());
    let report = serde_json::to_value(&report).unwrap();
    assert!(validator.unwrap().is_valid(&report), "{report}");
}
