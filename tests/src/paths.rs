//! Where things are, relative to the workspace: nothing here knows a particular machine.
use std::path::{Path, PathBuf};

/// The `tests` folder. A guest that runs prebuilt tests names it in `SOCKLEAK_TESTS_DIR`.
pub fn tests_dir() -> PathBuf {
    std::env::var_os("SOCKLEAK_TESTS_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

pub fn workspace() -> PathBuf {
    let tests = tests_dir();
    tests
        .parent()
        .map_or_else(|| tests.clone(), Path::to_path_buf)
}

pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The program under test: `SOCKLEAK_BIN`, or the release build.
pub fn sockleak() -> PathBuf {
    let path = std::env::var_os("SOCKLEAK_BIN")
        .map_or_else(|| target().join("release/sockleak"), PathBuf::from);
    assert!(
        path.is_file(),
        "no sockleak at {}: build it with `cargo build --release -p tracer`, or set SOCKLEAK_BIN",
        path.display()
    );
    path
}
