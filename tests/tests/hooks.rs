//! How accepts are seen is the user's choice, and each choice costs what it says and no more.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use tests::report::{Report, Site};
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{expect, manifest, skip, wait};

/// Without the accept site everything else is still known.
#[test]
fn without_an_accept_hook_the_verdict_stands() {
    if !skip::require_root("without_an_accept_hook_the_verdict_stands") {
        return;
    }
    watched_with("none", |report, site| {
        assert_eq!(accept_hooks(report), 0, "{:?}", report.hooks);
        assert!(
            site.stacks.opened.is_none(),
            "nobody watched accept: {:#?}",
            site.stacks.opened
        );
    });
}

#[test]
fn the_system_call_tells_who_accepted() {
    if !skip::require_root("the_system_call_tells_who_accepted") {
        return;
    }
    watched_with("syscall", |report, site| {
        assert!(accept_hooks(report) > 0, "{:?}", report.hooks);
        accepted_by_the_rig(site);
    });
}

/// Some kernels refuse every trampoline program; the report then says so.
#[test]
fn fexit_tells_who_accepted() {
    let name = "fexit_tells_who_accepted";
    if !skip::require_root(name) {
        return;
    }
    watched_with("fexit", |report, site| {
        let hook = report
            .hooks
            .iter()
            .find(|hook| hook.name == "inet_csk_accept");
        let hook = hook.expect("the hook that was asked for is listed");
        if hook.status == "attached" {
            return accepted_by_the_rig(site);
        }
        let reason = hook
            .reason
            .as_deref()
            .expect("a hook that is off has a reason");
        skip::skip(name, reason);
    });
}

/// One rig under one way of watching accept: found and blamed in any case.
fn watched_with(way: &str, check: impl FnOnce(&Report, &Site)) {
    let args = ["--json", "--min-age", "1s", "--accept-hook", way];
    let tracer = Running::watch(args);
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    let report = tracer.stop().report();
    let site = expect::one_site(&report, &rig);
    expect::blamed(site, &rig);
    check(&report, site);
}

/// How many hooks that see accepts are at work.
fn accept_hooks(report: &Report) -> usize {
    let accepts = report
        .hooks
        .iter()
        .filter(|hook| hook.name.contains("accept"));
    accepts.filter(|hook| hook.status != "unavailable").count()
}

fn accepted_by_the_rig(site: &Site) {
    let opened = site.stacks.opened.iter().flatten();
    let functions: Vec<_> = opened.map(tests::report::Frame::name).collect();
    assert!(
        functions.iter().any(|name| name == "serve_connection"),
        "{functions:?}"
    );
}
