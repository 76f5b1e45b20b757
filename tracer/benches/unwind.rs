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

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

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

/// A function and the structure it works on, of which a part of the large program has thousands.
fn part(functions: usize) -> String {
    let mut source = String::new();
    for i in 0..functions {
        let union = format!("union {{ long whole{i}; char bytes{i}[8]; }} u{i};");
        let fields = format!(
            "int count{i}; struct s{i} *next{i}; double weights{i}[{}]; {union}",
            i % 7 + 1
        );
        let step = format!("struct s{i} other = *it; sum{i} += other.u{i}.whole{i} * k{i};");
        let body = format!(
            "long sum{i} = salt; for (int k{i} = 0; k{i} < it->count{i}; k{i}++) {{ {step} }}"
        );
        let function =
            format!("static long f{i}(struct s{i} *it, long salt) {{ {body} return sum{i}; }}");
        writeln!(source, "struct s{i} {{ {fields} }};\n{function}").unwrap();
    }
    source.push_str("long all(void *it) { long sum = 0;\n");
    for i in 0..functions {
        writeln!(source, "sum += f{i}(it, sum);").unwrap();
    }
    source.push_str("return sum; }\n");
    source
}

/// The usual server, linked with real code of so many bytes of debug information.
fn large(shop: &Workshop, megabytes: u64) -> PathBuf {
    let part = shop.c("part.o", &part(4000), &["-g", "-gz=none", "-O0", "-c"]);
    let each = debug_bytes(&part);
    let parts: Vec<String> = (0..(megabytes << 20).div_ceil(each))
        .map(|i| {
            let copy = format!("part{i}.o");
            shop.run(
                "objcopy",
                &["--redefine-sym", &format!("all=all{i}"), "part.o", &copy],
            );
            copy
        })
        .collect();
    let mut options = vec!["-g", "-gz=none", "-O2"];
    options.extend(parts.iter().map(String::as_str));
    let program = shop.c("server", SERVER, &options);
    assert!(debug_bytes(&program) >= megabytes << 20);
    program
}

/// All of it that is not made smaller by the linker, which keeps equal strings once.
fn debug_bytes(program: &Path) -> u64 {
    let output = Command::new("size")
        .arg("-A")
        .arg(program)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(".debug_") && !line.contains("str"));
    lines
        .map(|line| {
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .sum()
}

/// From a stack to its names, the start of the helper process included, for a program with 100 MiB of
/// debug information that nothing was read of before.
fn first_name(criterion: &mut Criterion) {
    let shop = Workshop::new();
    let server = Blocked::start(&large(&shop, 100), SYS_RECVFROM);
    let copy = server.copy();
    let mut longest = Duration::ZERO;
    let mut group = criterion.benchmark_group("first name");
    group.sample_size(10);
    group.bench_function("100 MiB of debug information", |bench| {
        bench.iter(|| {
            let begin = Instant::now();
            let mut symbolizer = Symbolizer::with_program(env!("CARGO_BIN_EXE_sockleak").into());
            let named = symbolizer.resolve(&copy.view());
            longest = longest.max(begin.elapsed());
            let handler = named.stack.frames.iter().find(|frame| {
                frame.function.as_deref() == Some("handle_client") && frame.line == Some(6)
            });
            assert!(handler.is_some(), "{named:#?}");
        });
    });
    group.finish();
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

criterion_group!(benches, unwind, first_name);
criterion_main!(benches);
