//! Compresses the kernel object for embedding: a third of the program's constants otherwise.

use std::{env, fs, io, io::Write as _, path::PathBuf};

use flate2::{Compression, write::ZlibEncoder};

const OBJECT: &str = "ebpf/sockleak.bpf.o";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={OBJECT}");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&fs::read(OBJECT)?)?;
    fs::write(
        PathBuf::from(out).join("sockleak.bpf.o.z"),
        encoder.finish()?,
    )
}
