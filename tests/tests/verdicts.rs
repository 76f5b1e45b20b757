//! Every rig, traced from before its start to its report: one site, with the verdict, the count,
//! the blamed function, the holders and the ages the manifest promises; its healthy twin, under
//! the same tracer and the same traffic, gives nothing.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tests::judge::{self, Traced};
use tests::report::Report;
use tests::{compile, expect, manifest, skip};

/// Held by a test whose rig shares its executable with others: the runtime of its language.
static ALONE: Mutex<BTreeMap<String, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());

macro_rules! rigs {
    ($($test:ident: $name:literal)*) => {
        const TRACED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                trace(stringify!($test), $name);
            }
        )*
    };
}

rigs! {
    c_eof_ignored: "c-eof-ignored"
    c_eof_ignored_with_debug_information: "c-eof-ignored-debug"
    c_eof_ignored_stripped: "c-eof-ignored-stripped"
    c_eof_ignored_below_a_helper: "c-eof-ignored-helper"
    c_eof_ignored_below_a_wrapper: "c-eof-wrapped"
    c_eof_ignored_below_a_wrapper_soon: "c-eof-wrapped-fast"
    c_eof_ignored_below_a_wrapper_with_a_large_frame: "c-eof-wrapped-far"
    c_eof_ignored_below_a_wrapper_whose_frame_is_larger_than_a_copy: "c-eof-wrapped-farther"
    c_eof_ignored_below_a_wrapper_that_leaves_most_of_its_buffer_unwritten: "c-eof-wrapped-unwritten"
    c_eof_ignored_below_a_wrapper_unoptimized: "c-eof-wrapped-unoptimized"
    c_eof_ignored_below_three_wrappers: "c-eof-wrapped-nested"
    c_eof_ignored_below_a_wrapper_late: "c-eof-wrapped-slow"
    c_eof_ignored_below_a_small_wrapper_unoptimized: "c-eof-wrapped-near-unoptimized"
    c_eof_ignored_below_three_wrappers_with_large_frames: "c-eof-wrapped-nested-far"
    c_eof_ignored_below_three_wrappers_unoptimized: "c-eof-wrapped-nested-unoptimized"
    c_eof_ignored_on_a_rare_path_behind_a_hot_one: "c-eof-wrapped-rare"
    c_lost_reference_below_a_wrapper: "c-lost-reference-wrapped"
    c_eof_ignored_in_an_inlined_function: "c-eof-ignored-inline"
    c_eof_ignored_below_stdio: "c-eof-ignored-stdio"
    c_eof_ignored_ipv6: "c-eof-ignored-ipv6"
    c_eof_ignored_v4_mapped: "c-eof-ignored-dual-stack"
    c_eof_ignored_static_with_musl: "c-eof-ignored-musl-static"
    c_eof_ignored_static_pie: "c-eof-ignored-static-pie"
    c_lost_reference: "c-lost-reference"
    c_lost_reference_with_debug_information: "c-lost-reference-debug"
    c_lost_reference_after_fin_with_data: "c-lost-reference-fin-with-data"
    c_lost_reference_after_empty_read: "c-lost-reference-empty-read"
    c_never_read: "c-never-read"
    c_never_accepted: "c-never-accepted"
    c_inherited_fd: "c-inherited-fd"
    c_hidden_closed_by_reset: "c-hidden-closed-reset"
    c_hidden_closed_by_write: "c-hidden-closed-write"
    c_hidden_closed_by_shutdown: "c-hidden-closed-shutdown"
    c_idle_pool: "c-idle-pool"
    c_idle_pool_read_late: "c-idle-pool-read-late"
    c_passed_fd: "c-passed-fd"
    c_fd_in_flight: "c-fd-in-flight"
    c_dup_fd: "c-dup-fd"
    c_worker_starvation: "c-worker-starvation"
    c_worker_starvation_by_a_lock: "c-worker-starvation-lock"
    c_worker_starvation_by_a_silent_service: "c-worker-starvation-downstream"
    c_worker_starvation_by_computing: "c-worker-starvation-cpu"
    c_never_read_beside_idle_workers: "c-never-read-idle-workers"
    c_owner_blocked_by_a_lock: "c-owner-blocked-lock"
    c_owner_blocked_by_a_silent_service: "c-owner-blocked-downstream"
    c_owner_blocked_by_computing: "c-owner-blocked-cpu"
    c_upstream_silent: "c-upstream-silent"
    c_event_lost_after_one_shot: "c-event-lost-one-shot"
    c_event_lost_without_readability: "c-event-lost-write-only"
    c_event_lost_after_half_an_edge: "c-event-lost-edge"
    c_reading_paused: "c-reading-paused"
    c_half_close_not_forwarded: "c-half-close-not-forwarded"
    c_fd_limit: "c-fd-limit"
    c_select_limit: "c-select-limit"
    c_process_stopped: "c-process-stopped"
    cpp_eof_ignored: "cpp-eof-ignored"
    cpp_lost_reference: "cpp-lost-reference"
    rust_eof_ignored: "rust-eof-ignored"
    rust_lost_reference: "rust-lost-reference"
    rust_never_read: "rust-never-read"
    rust_idle_pool: "rust-idle-pool"
    rust_worker_starvation: "rust-worker-starvation"
    rust_event_lost: "rust-event-lost"
    go_eof_ignored: "go-eof-ignored"
    go_eof_ignored_stripped: "go-eof-ignored-stripped"
    go_never_accepted: "go-never-accepted"
    go_half_close_not_forwarded: "go-half-close-not-forwarded"
    go_body_not_closed: "go-body-not-closed"
    python_eof_ignored: "python-eof-ignored"
    python_lost_reference: "python-lost-reference"
    python_worker_starvation: "python-worker-starvation"
    python_idle_pool: "python-idle-pool"
    python_never_accepted: "python-never-accepted"
    python_never_accepted_by_computing: "python-never-accepted-cpu"
    python_gc_dependent: "python-gc-dependent"
    python_select_limit: "python-select-limit"
    prometheus_worker_starvation: "prometheus-worker-starvation"
    java_worker_starvation: "java-worker-starvation"
    java_eof_ignored: "java-eof-ignored"
    java_lost_reference: "java-lost-reference"
    java_gc_dependent: "java-gc-dependent"
    java_never_accepted: "java-never-accepted"
    java_owner_blocked: "java-owner-blocked"
    java_owner_blocked_by_computing: "java-owner-blocked-cpu"
    java_idle_pool: "java-idle-pool"
    go_lost_reference: "go-lost-reference"
    go_never_read: "go-never-read"
    c_closed_at_exit: "c-closed-at-exit"
    haproxy_eof_ignored: "haproxy-eof-ignored"
    urllib3_idle_pool: "urllib3-idle-pool"
    python_inherited_fd: "python-inherited-fd"
    php_eof_ignored: "php-eof-ignored"
    php_lost_reference: "php-lost-reference"
    node_eof_ignored: "node-eof-ignored"
    node_never_read: "node-never-read"
    node_body_not_read: "node-body-not-read"
    node_owner_blocked_by_computing: "node-owner-blocked-cpu"
}

#[test]
fn every_rig_of_the_manifest_is_traced() {
    let known: Vec<_> = manifest::load()
        .rigs
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let traced: BTreeSet<_> = TRACED.iter().map(ToString::to_string).collect();
    assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), traced);
}

fn trace(test: &str, name: &str) {
    if !skip::require_root(test) {
        return;
    }
    let entry = manifest::entry(name);
    if !skip::require_needs(test, &entry) {
        return;
    }
    // One executable, one verdict, nobody to blame: a report takes two such programs for one.
    let alone = compile::runtime(&entry).map(alone);
    let _alone = alone.as_ref().map(|alone| alone.lock());
    let Traced { report, rig, twin } = judge::trace(&entry);
    let site = expect::one_site(&report, &rig);
    expect::exact_ages(site, &rig);
    for site in expect::sites(&report, &rig) {
        expect::blamed(site, &rig);
    }
    expect::no_site(&report, &twin);
    nothing_lost(&report);
}

fn alone(runtime: &str) -> Arc<Mutex<()>> {
    let mut all = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(all.entry(runtime.to_owned()).or_default())
}

fn nothing_lost(report: &Report) {
    let events = &report.window.events;
    assert!(report.window.complete, "incomplete: {:?}", report.warnings);
    assert_eq!(events.lost, report.skipped_runs(), "{:?}", report.warnings);
    assert_eq!(
        events.seen, events.submitted,
        "every event seen was submitted"
    );
    assert_eq!(
        events.submitted, events.received,
        "every event submitted was received"
    );
}
