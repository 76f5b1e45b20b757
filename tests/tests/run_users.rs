//! `sockleak run` and whose rights there are: an ordinary user with real sudo, programs that are setuid, containers, and
//! hosts where nothing can be traced.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::skip::{require_program, require_root};
use tests::sockleak::{Finished, finish};
use tests::{moment, paths};

const LIMIT: Duration = Duration::from_mins(1);
const NOBODY: u32 = 65534;
/// As distributions and the hosted runners of CI services have them.
const SUDOERS: &str = "\
Defaults env_reset, use_pty
Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"
nobody ALL=(root) NOPASSWD: ALL
";

/// A folder of nobody's with programs in it.
struct Home(tempfile::TempDir);

impl Home {
    /// Where everything the test needs is there.
    fn of(name: &str, needs: &[&str]) -> Option<Self> {
        let there = needs.iter().all(|need| require_program(name, need));
        if !require_root(name) || !there {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("give it away");
        let program = moment::build(folder.path());
        let home = Self(folder);
        fs::copy(program, home.path().join("setuid")).expect("a copy");
        home.mode("setuid", 0o4755);
        fs::copy(paths::sockleak(), home.path().join("sockleak")).expect("a copy");
        home.mode("sockleak", 0o755);
        fs::create_dir(home.path().join("sudoers.d")).expect("a folder");
        fs::write(home.path().join("sudoers.d/tests"), SUDOERS).expect("rules");
        home.mode("sudoers.d/tests", 0o440);
        Some(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn mode(&self, file: &str, mode: u32) {
        let file = self.path().join(file);
        fs::set_permissions(file, Permissions::from_mode(mode)).expect("permissions");
    }

    /// As nobody, whom sudo lets do anything in this namespace of mounts alone.
    fn as_nobody(&self, line: &str) -> Finished {
        self.shell(&format!(
            "mount --bind sudoers.d /etc/sudoers.d
             exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups sh -c '{line}'"
        ))
    }

    fn shell(&self, script: &str) -> Finished {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-euc", script])
            .current_dir(self.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.path().display()),
            )
            .env("OF_THE_JOB", "kept")
            .env("NO_COLOR", "1")
            .env_remove("SUDO_UID")
            .stdin(Stdio::null());
        finish(&mut command, LIMIT)
    }
}

/// Who it is, what it has, and a leak.
const SHOW: &str = "id -u; echo $OF_THE_JOB $PATH; moment 2 0";

#[test]
fn a_user_keeps_everything_and_sudo_starts_the_tracer_alone() {
    let name = "a_user_keeps_everything_and_sudo_starts_the_tracer_alone";
    let Some(home) = Home::of(name, &["gcc", "sudo", "setpriv", "unshare"]) else {
        return;
    };
    let ended = home
        .as_nobody(&format!("sockleak run --exit-age 0s -- sh -c \"{SHOW}\"").replace('$', "\\$"));
    ended.said(23, &["2 sockets leaked", "handle_client"]);
    let own = format!("{NOBODY}\nkept {}:", home.path().display());
    assert!(ended.stdout.starts_with(&own), "{}", ended.stdout);
    let clean = home.as_nobody("sockleak run --exit-age 0s -- moment 2 0 healthy");
    assert_eq!(clean.code(), 0, "{}", clean.stderr);
}

#[test]
fn under_sudo_the_command_is_the_users() {
    let name = "under_sudo_the_command_is_the_users";
    let Some(home) = Home::of(name, &["gcc", "sudo", "setpriv", "unshare"]) else {
        return;
    };
    // secure_path does not hold the folder of the job.
    let ended = home
        .as_nobody("sudo -n ./sockleak run --exit-age 0s -- sh -c \"id -u; id -G; ./moment 2 0\"");
    ended.said(23, &["2 sockets leaked", "handle_client"]);
    assert_eq!(ended.stdout.trim(), format!("{NOBODY}\n{NOBODY}"));
    // What the session has that called sudo, not what sudo has itself.
    let with_group = home.shell(&format!(
        "mount --bind sudoers.d /etc/sudoers.d
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --groups 4242 sh -c \\
             'sudo -n ./sockleak run -- id -G; exit $?'"
    ));
    assert_eq!(with_group.stdout.trim(), format!("{NOBODY} 4242"));
    let missing = home.as_nobody("sudo -n ./sockleak run -- moment 2 0");
    missing.said(127, &["moment is not in the PATH that sudo has set"]);
}

#[test]
fn setuid_programs_work_and_their_leaks_are_told() {
    let name = "setuid_programs_work_and_their_leaks_are_told";
    let Some(home) = Home::of(name, &["gcc", "sudo", "setpriv", "unshare"]) else {
        return;
    };
    let ended = home.as_nobody("sockleak run --exit-age 0s -- sudo -n id -u");
    assert_eq!(
        (ended.code(), ended.stdout.trim()),
        (0, "0"),
        "{}",
        ended.stderr
    );
    let ended = home.as_nobody("sockleak run --exit-age 0s -- setuid 2 300");
    ended.said(23, &["2 sockets leaked", "handle_client"]);
}

#[test]
fn a_container_with_pids_of_its_own_is_traced() {
    let name = "a_container_with_pids_of_its_own_is_traced";
    let Some(home) = Home::of(name, &["gcc", "unshare"]) else {
        return;
    };
    for life in ["0", "300"] {
        let inside = |words: &str| {
            home.shell(&format!(
                "exec unshare --pid --fork --mount-proc sockleak run --exit-age 0s -- moment 2 {life}{words}"
            ))
        };
        inside("").said(23, &["2 sockets leaked", "handle_client"]);
        let clean = inside(" healthy");
        assert_eq!(clean.code(), 0, "{}", clean.stderr);
    }
}

#[test]
fn where_nothing_can_be_traced_the_user_chooses() {
    let name = "where_nothing_can_be_traced_the_user_chooses";
    let Some(home) = Home::of(name, &["gcc", "setpriv", "unshare"]) else {
        return;
    };
    let nobody = |line: &str| {
        home.shell(&format!(
            "exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs sh -c '{line}'"
        ))
    };
    let fails = nobody("sockleak run -- touch was-run");
    fails.said(125, &["what to do"]);
    assert!(!home.path().join("was-run").exists());
    let skips = nobody(
        "sockleak run --if-unable skip --junit j.xml --json r.json --folded f --record r -- sh -c \"touch was-run; exit 3\"",
    );
    skips.said(3, &["NOT CHECKED"]);
    assert!(home.path().join("was-run").exists());
    let junit = fs::read_to_string(home.path().join("j.xml")).expect("JUnit XML");
    assert!(junit.contains("<skipped message=\"NOT CHECKED"), "{junit}");
    let report = fs::read_to_string(home.path().join("r.json")).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["window"]["complete"], false);
    let warning = report["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("NOT CHECKED"), "{warning}");
    // They have no word for it.
    for file in ["f", "r"] {
        assert!(!home.path().join(file).exists(), "{file} is there");
    }
}
