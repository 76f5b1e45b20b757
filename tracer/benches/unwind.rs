//! How fast stacks are unwound once a process is known, with real programs blocked in a real system call:
//! the walk alone, and a whole answer of the helper process with names. docs/performance.md has the figures.
#![cfg(target_arch = "x86_64")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a measurement that cannot be made fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[expect(dead_code, reason = "shared with the tests of unwinding and naming")]
#[path = "../src/symbolize/tests/program.rs"]
mod program;

use program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
// Where `program` looks for it.
use tracer::symbolize;
use tracer::symbolize::{Symbolizer, Walker};

/// One that keeps no frame pointers, one with its C library inside, one 25 calls deep.
const BUILDS: [(&str, &[&str]); 3] = [
    ("dynamic", &["-O2", "-fomit-frame-pointer"]),
    ("static", &["-O2", "-static"]),
    ("25 calls deep", &["-O2", "-fomit-frame-pointer"]),
];

fn deep() -> String {
    let descend = "KEEP long descend(int fd, int depth) {
    volatile long below = depth ? descend(fd, depth - 1) : handle_client(fd, depth);
    return below + 1;
}
KEEP long serve";
    SERVER
        .replacen("KEEP long serve", descend, 1)
        .replace("total += handle_client(fd, i)", "total += descend(fd, 25)")
}

fn unwind(criterion: &mut Criterion) {
    let shop = Workshop::new();
    for (name, options) in BUILDS {
        let source = if name.contains("deep") {
            deep()
        } else {
            SERVER.to_owned()
        };
        let server = Blocked::start(&shop.c("server", &source, options), SYS_RECVFROM);
        let copy = server.copy();
        let mut walker = Walker::of_process(copy.pid).expect("look at the program");
        let frames = walker.frames(&copy.view());
        assert!(frames > 5, "{name}: {frames} frames");
        let mut group = criterion.benchmark_group("unwind");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}, {frames} frames"), |bench| {
            bench.iter(|| walker.frames(black_box(&copy.view())));
        });
        group.finish();

        let helper = env!("CARGO_BIN_EXE_sockleak").into();
        let mut symbolizer = Symbolizer::with_program(helper);
        symbolizer.warm(copy.pid);
        let named = symbolizer.resolve(&copy.view());
        assert!(named.warnings.is_empty(), "{:?}", named.warnings);
        let mut group = criterion.benchmark_group("unwind and name, by the helper");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}, {frames} frames"), |bench| {
            bench.iter(|| symbolizer.resolve(black_box(&copy.view())));
        });
        group.finish();
    }
}

criterion_group!(benches, unwind);
criterion_main!(benches);
