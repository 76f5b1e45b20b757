//! Connections accepted at the same place as the leaking ones, and closed: how many, and where.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use tests::client::{self, Manner};
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, skip, wait};

const HEALTHY: usize = 12;

#[test]
fn the_path_that_does_close_is_named_and_counted() {
    if !skip::require_root("the_path_that_does_close_is_named_and_counted") {
        return;
    }
    let running = Running::watch(["--json", "--min-age", "1s", "--duration", "60s"]);
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    // Counting begins when the first socket has been stuck for a moment.
    wait::outlive_one_second();
    client::visit(rig.address(), HEALTHY, Manner::HealthCheck);
    let report = running.stop().report();
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{sites:#?}");
    let site = &sites[0];
    assert_eq!(site.count, rig.stuck);
    assert_eq!(site.siblings_closed, Some(HEALTHY as u64), "{site:#?}");
    let close = site
        .stacks
        .sibling_close
        .as_ref()
        .expect("where they were closed");
    let names: Vec<_> = close
        .iter()
        .filter_map(|frame| frame.function.as_deref())
        .collect();
    let expected = [
        "finish_connection",
        "answer_health_check",
        "serve_connection",
    ];
    assert!(names.windows(3).any(|three| three == expected), "{names:?}");
    let sentence = format!(
        "{HEALTHY} connections opened at the same place were closed meanwhile in finish_connection; \
         these {} were not",
        rig.stuck
    );
    assert!(site.evidence.contains(&sentence), "{:#?}", site.evidence);
}
