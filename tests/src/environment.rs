//! Surroundings that lack something a developer's machine has: prefixes that start a command in one, and
//! what they take to be made. Gone with the value; nothing on the host is changed meanwhile.
use crate::{paths, wait};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);

/// Where a command runs, and with which program.
#[derive(Debug)]
pub struct Environment {
    prefix: Vec<String>,
    program: PathBuf,
    keeper: Option<Child>,
    folders: Vec<PathBuf>,
    /// Only kept.
    stage: Option<TempDir>,
}

impl Environment {
    fn new(prefix: &[&str]) -> Self {
        Self {
            prefix: prefix.iter().map(ToString::to_string).collect(),
            program: paths::sockleak(),
            keeper: None,
            folders: Vec::new(),
            stage: None,
        }
    }

    /// A mount namespace in which a shell runs `script` before the command.
    fn mounts(script: &str) -> Self {
        let script = format!("{script}\nexec \"$0\" \"$@\"");
        Self::new(&["unshare", "--mount", "sh", "-ec", &script])
    }

    /// No tracefs, debugfs and securityfs anywhere.
    pub fn without_kernel_file_systems() -> Self {
        Self::mounts(
            "for kind in tracefs debugfs securityfs; do
                 awk -v kind=$kind '$3 == kind { print $2 }' /proc/self/mounts | while read -r at; do
                     umount -l \"$at\"
                 done
             done",
        )
    }

    pub fn with_read_only_root() -> Self {
        Self::mounts("mount -o remount,ro,bind /\n! touch /read-only-probe 2>/dev/null")
    }

    /// A root without the folder; all else is as on the host.
    pub fn without_tmp() -> Self {
        let stage = stage();
        let script = format!(
            "root=$(mktemp -d /run/sockleak-test.XXXXXX)
             mount -t tmpfs none $root
             for entry in /*; do
                 if [ $entry = /tmp ]; then continue
                 elif [ -L $entry ]; then cp -a $entry $root
                 elif [ -d $entry ]; then mkdir $root$entry; mount --rbind $entry $root$entry
                 fi
             done
             mkdir $root/stage
             mount --bind {} $root/stage
             cd $root
             exec chroot $root \"$0\" \"$@\"",
            stage.path().display()
        );
        let mut environment = Self::new(&["unshare", "--mount", "sh", "-ec", &script]);
        environment.program = "/stage/sockleak".into();
        environment.stage = Some(stage);
        environment
    }

    /// A pid namespace with a /proc of its own, as a container has it. Everything started here is in one.
    pub fn in_pid_namespace() -> Self {
        let keeper = Command::new("unshare")
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sleep",
                "600",
            ])
            .spawn()
            .expect("start unshare");
        let children = format!("/proc/{0}/task/{0}/children", keeper.id());
        let inner = wait::poll_for(PATIENCE, || {
            let pids = fs::read_to_string(&children).ok()?;
            let pid = pids.split_whitespace().next()?.to_owned();
            // It mounts its /proc before it becomes what it was asked for.
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (comm.trim() == "sleep").then_some(pid)
        });
        let inner = inner.expect("the first process of the namespace");
        let mut environment = Self::new(&["nsenter", "--pid", "--mount", "--target", &inner, "--"]);
        environment.keeper = Some(keeper);
        environment
    }

    /// A user without privileges and a program with these file capabilities.
    pub fn with_file_capabilities(capabilities: &str) -> Self {
        let stage = stage();
        let program = stage.path().join("sockleak");
        let status = Command::new("setcap")
            .arg(capabilities)
            .arg(&program)
            .status();
        assert!(
            status.expect("start setcap").success(),
            "setcap {capabilities}"
        );
        let mut environment = Self::new(&[
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        ]);
        environment.program = program;
        environment.stage = Some(stage);
        environment
    }

    /// A terminal that knows no colours. The command is a word of the terminal's shell.
    pub fn on_a_dumb_terminal() -> Self {
        Self::new(&[
            "env",
            "-u",
            "NO_COLOR",
            "TERM=dumb",
            "sh",
            "-c",
            "script -qec \"$*\" /dev/null",
            "sh",
        ])
    }

    /// A cgroup with 64 MiB of memory and a tenth of a CPU; `None` where none can be made.
    pub fn in_small_cgroup() -> Option<Self> {
        let name = format!("sockleak-test-{}", std::process::id());
        let (folders, limits) = cgroups(&name)?;
        let mut environment = Self::new(&[]);
        environment.folders = folders;
        for folder in &environment.folders {
            fs::create_dir(folder).ok()?;
        }
        for (file, value) in limits {
            fs::write(file, value).ok()?;
        }
        let join: Vec<String> = environment
            .folders
            .iter()
            .map(|folder| format!("echo $$ > {}/cgroup.procs", folder.display()))
            .collect();
        let script = format!("{}\nexec \"$0\" \"$@\"", join.join("\n"));
        environment.prefix = ["sh", "-ec", &script].map(str::to_owned).to_vec();
        Some(environment)
    }

    /// Words that start a command in here.
    pub fn prefix(&self) -> Vec<&str> {
        self.prefix.iter().map(String::as_str).collect()
    }

    /// `sockleak` with these arguments, in here.
    pub fn sockleak(&self, args: &[&str]) -> Command {
        let program = self.program.to_str().expect("a path in UTF-8");
        let mut words = self.prefix();
        words.push(program);
        words.extend(args);
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
        for folder in &self.folders {
            // Busy until the last process in it is gone.
            let _ = wait::poll_for(PATIENCE, || fs::remove_dir(folder).ok());
        }
    }
}

/// A copy of the program that everybody may execute.
fn stage() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for the copy");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("open the folder");
    let program = folder.path().join("sockleak");
    fs::copy(paths::sockleak(), &program).expect("copy the program");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("let all execute it");
    folder
}

type Limits = Vec<(PathBuf, &'static str)>;

/// The folders to make and what to write where, for the first or the second version of cgroups.
fn cgroups(name: &str) -> Option<(Vec<PathBuf>, Limits)> {
    let root = Path::new("/sys/fs/cgroup");
    let [memory, cpu] = ["memory", "cpu"].map(|controller| root.join(controller).join(name));
    if memory.parent()?.join("memory.limit_in_bytes").exists() {
        let limits = vec![
            (memory.join("memory.limit_in_bytes"), "67108864"),
            (cpu.join("cpu.cfs_quota_us"), "10000"),
        ];
        return Some((vec![memory, cpu], limits));
    }
    let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
    let has = |controller: &str| controllers.split_whitespace().any(|it| it == controller);
    let folder = root.join(name);
    let limits = vec![
        (folder.join("memory.max"), "67108864"),
        (folder.join("cpu.max"), "10000 100000"),
    ];
    (has("memory") && has("cpu")).then(|| (vec![folder], limits))
}
