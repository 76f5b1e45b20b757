//! Not a check: prints how long naming takes. `cargo test … symbolize::tests::speed -- --ignored`

use std::time::Instant;

use super::Symbolizer;
use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};

#[test]
#[ignore = "a measurement, for people"]
fn first_name_and_warm_rate() {
    let shop = Workshop::new();
    for options in [&["-O2"][..], &["-O2", "-g"], &["-O2", "-static"]] {
        let server = Blocked::start(&shop.c("server", SERVER, options), SYS_RECVFROM);
        let copy = server.copy();
        let mut symbolizer = Symbolizer::new();
        let begin = Instant::now();
        symbolizer.warm(copy.pid);
        let warm = begin.elapsed();
        let found = symbolizer.resolve(&copy.view());
        let first = begin.elapsed();
        let rounds = 20_000;
        let begin = Instant::now();
        for _ in 0..rounds {
            symbolizer.resolve(&copy.view());
        }
        let each = begin.elapsed() / rounds;
        let frames = found.stack.frames.len();
        println!(
            "{options:?}: mappings {warm:?}, first stack {first:?}, then {each:?} ({frames} frames)"
        );
    }
}
