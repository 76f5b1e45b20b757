//! Compresses the kernel objects for embedding: a third of the program's constants otherwise.

use std::{env, fs, io, io::Write as _, path::PathBuf};

use flate2::{Compression, write::ZlibEncoder};

const OBJECTS: [&str; 2] = ["sockleak.bpf.o", "sockleak-5.10.bpf.o"];

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    for object in OBJECTS {
        let path = format!("ebpf/{object}");
        println!("cargo::rerun-if-changed={path}");
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(path)?)?;
        let compressed = PathBuf::from(&out).join(format!("{object}.z"));
        fs::write(compressed, encoder.finish()?)?;
    }
    Ok(())
}
