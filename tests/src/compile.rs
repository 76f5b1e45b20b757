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
    let options = entry.build_args.iter().map(PathBuf::from);
    let words = |program: &str| [program.into()].into_iter().chain(options);
    match entry.language.as_str() {
        "python" => words("python3").chain([source]).collect(),
        "node" => words("node").chain([source]).collect(),
        "java" => {
            let plain = Entry {
                build_args: Vec::new(),
                ..entry.clone()
            };
            let archive = build(&plain, &source);
            words("java").chain(["-jar".into(), archive]).collect()
        }
        _ => vec![build(entry, &source)],
    }
}

fn build(entry: &Entry, source: &Path) -> PathBuf {
    let manifest = manifest::load();
    let recipe = manifest.builds.get(&entry.build);
    let recipe = recipe.unwrap_or_else(|| panic!("{}: no build {}", entry.name, entry.build));
    // The digest names the folder and not the program: reports show the program's name.
    let folder = paths::target().join(format!("rigs/{:016x}", digest(entry, recipe)));
    let output = folder.join(&entry.name);
    if output.is_file() {
        return output;
    }
    fs::create_dir_all(&folder).expect("create target/rigs");
    // Built aside and moved, so that neither an interrupted build nor another one at the same time
    // leaves anything half made: compilers put their own files beside the output.
    let aside = tempfile::tempdir_in(&folder).expect("a folder to build in");
    let made = aside.path().join(&entry.name);
    let place = |part: &String| match part.as_str() {
        "{source}" => source.as_os_str().to_owned(),
        "{output}" => made.as_os_str().to_owned(),
        other => other.into(),
    };
    let status = Command::new(&recipe[0])
        .args(recipe[1..].iter().map(place))
        .args(&entry.build_args)
        .status()
        .unwrap_or_else(|error| panic!("{}: run {}: {error}", entry.name, recipe[0]));
    let (name, compiler) = (&entry.name, &recipe[0]);
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
    fs::rename(&made, &output).expect("put the rig in place");
    output
}

/// Every source of every language counts: the rigs are small, and headers are shared.
fn digest(entry: &Entry, recipe: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
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
