//! Runs the program with less privilege than the test has, from a copy everybody may execute: the
//! build folder may lie where only its owner can look.
use crate::paths;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

/// A folder of nobody's with a copy of the program in it; gone when dropped.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the copy");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("open the folder");
        let program = folder.path().join("sockleak");
        fs::copy(paths::sockleak(), &program).expect("copy the program");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("let all execute it");
        Self { folder }
    }

    /// Copies `file` here as nobody's own.
    pub fn hand_over(&self, file: &Path) -> PathBuf {
        let copy = self.folder.path().join("handed-over");
        fs::copy(file, &copy).expect("copy a file");
        chown(&copy, Some(NOBODY), Some(NOBODY)).expect("give the file away");
        copy
    }

    /// The program as a user with no privilege at all.
    pub fn as_nobody(&self) -> Command {
        let id = NOBODY.to_string();
        self.setpriv(&[
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--bounding-set",
            "-all",
        ])
    }

    /// The program as root without these capabilities.
    pub fn without(&self, capabilities: &str) -> Command {
        self.setpriv(&["--inh-caps", capabilities, "--bounding-set", capabilities])
    }

    fn setpriv(&self, options: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(options)
            .arg(self.folder.path().join("sockleak"));
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}
