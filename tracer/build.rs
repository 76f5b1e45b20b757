//! Compresses the kernel objects for embedding: a third of the program's constants otherwise.

use std::{env, fs, io, io::Write as _, path::PathBuf};

use flate2::{Compression, write::ZlibEncoder};

/// One is built from the other's sources, for other kernels.
const OBJECTS: [&str; 2] = ["sockleak.bpf.o", "sockleak-5.10.bpf.o"];
/// A block of each in turn, so that what they have in common lies within the 32 KiB that zlib looks back. Before them are
/// this number and the lengths.
const BLOCK: usize = 6144;

fn main() -> io::Result<()> {
    let out = PathBuf::from(
        env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?,
    );
    let mut objects = Vec::new();
    for object in OBJECTS {
        let path = format!("ebpf/{object}");
        println!("cargo::rerun-if-changed={path}");
        objects.push(fs::read(path)?);
    }
    let words = [BLOCK].into_iter().chain(objects.iter().map(Vec::len));
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for word in words {
        encoder.write_all(&u32::try_from(word).map_err(io::Error::other)?.to_le_bytes())?;
    }
    let mut blocks: Vec<_> = objects.iter().map(|object| object.chunks(BLOCK)).collect();
    while blocks.iter().any(|left| left.len() > 0) {
        for block in blocks.iter_mut().filter_map(Iterator::next) {
            encoder.write_all(block)?;
        }
    }
    fs::write(out.join("objects.z"), encoder.finish()?)
}
