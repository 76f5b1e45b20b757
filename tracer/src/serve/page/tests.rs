use super::*;
use crate::{
    model::{stack::Frame, untrusted::Untrusted},
    sink::samples,
};

const SCRIPT_TEXT: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";

fn page(report: &Report, query: &str) -> String {
    let mut history = History::default();
    history.add(report);
    let trend = history.trend(&report.window);
    render(report, &trend, &Query::parse(query), true)
}

#[test]
fn what_a_traced_process_chose_is_text_and_never_markup() {
    let mut report = samples::eof_ignored();
    let site = &mut report.sites[0];
    let hostile = || Untrusted::new(SCRIPT_TEXT);
    if let Some(process) = &mut site.process {
        process.comm = hostile();
        process.exe = Some(hostile());
        process.service = Some(hostile());
        process.cgroup = Some(hostile());
    }
    if let Some(blame) = &mut site.blame {
        blame.function = hostile();
        blame.file = Some(hostile());
        blame.module = Some(hostile());
    }
    site.stacks.opened = Some(vec![Frame {
        function: Some(SCRIPT_TEXT.to_owned()),
        module: Some(SCRIPT_TEXT.to_owned()),
        file: Some(SCRIPT_TEXT.to_owned()),
        line: Some(1),
        ..Frame::default()
    }]);
    site.summary = SCRIPT_TEXT.to_owned();
    site.evidence = vec![SCRIPT_TEXT.to_owned()];
    site.advice = SCRIPT_TEXT.to_owned();
    site.id = "<script>alert(1)</script>\"".to_owned();
    report.warnings = vec![SCRIPT_TEXT.to_owned()];
    report.hooks[0].reason = Some(SCRIPT_TEXT.to_owned());
    let html = page(&report, "open=%3Cscript%3E");
    assert!(
        !html.contains("<script>") && !html.contains("<img"),
        "{html}"
    );
    assert!(!html.contains('\u{202e}'));
    assert!(html.contains("&lt;script&gt;"));
    let typed = page(&report, "q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
    assert!(!typed.contains("<script>"), "{typed}");
}

#[test]
fn nothing_inline_and_nothing_from_elsewhere() {
    for (name, report) in samples::all() {
        let html = page(&report, "");
        for word in [
            " style=",
            " onclick",
            "javascript:",
            "http://",
            "https://",
            "<style",
        ] {
            assert!(!html.contains(word), "{name}: {word}");
        }
        assert_eq!(html.matches("<script").count(), 1, "{name}");
    }
    assert!(!STYLE.contains("url(") && !SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("));
}

#[test]
fn the_address_says_what_is_shown_and_open() {
    let report = samples::eof_ignored();
    let id = report.sites[0].id.clone();
    let verdict = report.sites[0].verdict.name();
    assert!(page(&report, &format!("open={id}")).contains(" open>"));
    assert!(!page(&report, "").contains(" open>"));
    assert!(page(&report, &format!("q={verdict}")).contains(&format!("id=\"site-{id}\"")));
    assert!(!page(&report, "q=no+such+words").contains(&format!("id=\"site-{id}\"")));
}

#[test]
fn what_is_equal_is_said_once() {
    let mut report = samples::eof_ignored();
    let site = &mut report.sites[0];
    let frames = vec![Frame {
        function: Some("read_request".to_owned()),
        ..Frame::default()
    }];
    site.stacks.eof = Some(frames.clone());
    site.stacks.last_used = Some(frames);
    let process = site.process.as_mut().unwrap();
    process.comm = Untrusted::new("leaky");
    process.service = Some(Untrusted::new("leaky"));
    let html = page(&report, "");
    assert!(html.contains("read, and where it was used last"), "{html}");
    assert!(!html.contains("leaky (leaky)"), "{html}");
}

#[test]
fn never_clean_after_a_loss() {
    let mut report = samples::nothing_found();
    report.window.complete = false;
    let html = page(&report, "");
    assert!(!html.contains("Nothing is stuck."), "{html}");
    assert!(html.contains("does not prove that nothing leaks"));
    assert!(page(&samples::nothing_found(), "").contains("Nothing is stuck."));
}
