//! Builds rigs into `target/rigs`, once for each state of their sources, flags and compiler.
use crate::manifest::{self, Entry};
use crate::paths;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that starts `entry`, without its arguments.
pub fn command(entry: &Entry) -> Vec<PathBuf> {
    let source = paths::tests_dir().join("rigs").join(&entry.source);
    match runtime(entry) {
        None => vec![build(entry, &source)],
        Some(java) if entry.language == "java" => in_java(java, entry, &source),
        Some(interpreter) => options(interpreter, entry).chain([source]).collect(),
    }
}

/// A C program of a test's own, compiled to `folder`/`name` with these further options.
pub fn c(folder: &Path, name: &str, text: &str, options: &[&str]) -> PathBuf {
    let source = folder.join(format!("{name}.c"));
    let program = folder.join(name);
    fs::write(&source, text).expect("write the program");
    let done = Command::new("gcc")
        .args(["-O1", "-g"])
        .args(options)
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("run gcc");
    assert!(done.success(), "gcc ended with {done}");
    program
}

/// The program that runs `entry`, for languages whose programs are no executables of their own.
pub fn runtime(entry: &Entry) -> Option<&str> {
    let usual = match entry.language.as_str() {
        "java" => "java",
        "javascript" => "node",
        "php" => "php",
        "python" => "python3",
        "ruby" => "ruby",
        _ => return None,
    };
    Some(entry.interpreter.as_deref().unwrap_or(usual))
}

/// A runtime takes the options of the build itself.
fn options<'e>(runtime: &str, entry: &'e Entry) -> impl Iterator<Item = PathBuf> + use<'e> {
    let own = entry.build_args.iter().map(PathBuf::from);
    [PathBuf::from(runtime)].into_iter().chain(own)
}

/// The build is a folder with the class that the source is named after.
fn in_java(java: &str, entry: &Entry, source: &Path) -> Vec<PathBuf> {
    let plain = Entry {
        interpreter: None,
        build_args: Vec::new(),
        ..entry.clone()
    };
    let class = source.file_stem().expect("a source has a name");
    let program = ["-cp".into(), build(&plain, source), class.into()];
    options(java, entry).chain(program).collect()
}

fn build(entry: &Entry, source: &Path) -> PathBuf {
    let manifest = manifest::load();
    let recipe = manifest.builds.get(&entry.build);
    let recipe = recipe.unwrap_or_else(|| panic!("{}: no build {}", entry.name, entry.build));
    // The digest names the folder and not the program: reports show the program's name.
    let folder = paths::target().join(format!("rigs/{:016x}", digest(entry, recipe)));
    let output = folder.join(&entry.name);
    if output.exists() {
        return output;
    }
    fs::create_dir_all(&folder).expect("create target/rigs");
    // Built aside and moved, so that neither an interrupted build nor another one at the same time
    // leaves anything half made: compilers put their own files beside the output.
    let aside = tempfile::tempdir_in(&folder).expect("a folder to build in");
    let made = aside.path().join(&entry.name);
    let beside = source.parent().expect("a source is in a folder");
    let place = |part: &String| match part.as_str() {
        "{source}" => source.as_os_str().to_owned(),
        "{rig.go}" => source.with_file_name("rig.go").into_os_string(),
        "{output}" => made.as_os_str().to_owned(),
        "{folder}" => beside.as_os_str().to_owned(),
        other => other.into(),
    };
    let compiler = entry.interpreter.as_ref().unwrap_or(&recipe[0]);
    let status = Command::new(compiler)
        .args(recipe[1..].iter().map(place))
        .args(&entry.build_args)
        .status()
        .unwrap_or_else(|error| panic!("{}: run {compiler}: {error}", entry.name));
    let name = &entry.name;
    assert!(status.success(), "{name}: {compiler} ended with {status}");
    // What belongs to it is called after it: a library, debug information. It comes last itself, because
    // where it is, all is.
    for made in fs::read_dir(aside.path()).expect("list what was built") {
        let made = made.expect("list what was built");
        let file = made.file_name();
        if file
            .to_string_lossy()
            .starts_with(&format!("{}.", entry.name))
        {
            fs::rename(made.path(), folder.join(file)).expect("put a part in place");
        }
    }
    // A folder cannot replace the one that another build has put there meanwhile, and need not.
    if let Err(error) = fs::rename(&made, &output) {
        assert!(output.is_dir(), "{name}: put it in place: {error}");
    }
    output
}

/// Every source of every language counts: the rigs are small, and headers are shared.
fn digest(entry: &Entry, recipe: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    entry.interpreter.hash(&mut hasher);
    entry.build_args.hash(&mut hasher);
    entry.source.hash(&mut hasher);
    for folder in ["c", "cpp", "go", "java", "rust"] {
        let folder = paths::tests_dir().join("rigs").join(folder);
        let listing = fs::read_dir(&folder).expect("list the rigs");
        let mut files: Vec<_> = listing
            .map(|file| file.expect("list the rigs").path())
            .collect();
        files.sort();
        for file in files {
            fs::read(&file).expect("read a rig").hash(&mut hasher);
        }
    }
    hasher.finish()
}
