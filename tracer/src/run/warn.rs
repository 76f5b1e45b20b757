//! What to tell of CMD before it runs.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;

use super::identity::Identity;
use crate::model::untrusted::Untrusted;

/// sudo replaces PATH by one of its own (`secure_path`), where the user's programs may be missing.
pub(super) fn of_what_sudo_left(command: &[OsString]) {
    let Some(program) = command.first() else {
        return;
    };
    if Identity::behind_sudo().is_none() || is_found(program.as_ref()) {
        return;
    }
    let program = Untrusted::from_bytes(program.as_encoded_bytes());
    // Nobody may be listening.
    let _ = writeln!(
        io::stderr(),
        "sockleak: {program} is not in the PATH that sudo has set; run `sockleak run` without sudo: it asks for \
         sudo itself, for the tracer alone"
    );
}

fn is_found(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
