//! `cargo xtask layers`: a module of the CLI imports only what the table in ARCHITECTURE.md lets
//! it import, and that table has one direction. Reads source text; does not compile it.

mod imports;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use self::imports::Import;
use self::table::Table;
use crate::trouble::Trouble;
use crate::{repo, say};

/// Check the one-direction rule against the table in ARCHITECTURE.md
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    let path = repo::root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).map_err(|error| {
        Trouble::error(
            format!("cannot read {}: {error}", repo::shown(&path)),
            "the table of modules and what they may import lives in that file",
            "write it, with a fenced block marked ```layers of lines `module: imports…`",
        )
    })?;
    let table = Table::parse(&text)?;
    let src = repo::root().join("tracer/src");
    let modules = top_modules(&src)?;
    let mut offences = table.disagreements(&modules);
    let mut checked = 0;
    for file in repo::files()? {
        let Ok(inside) = file.strip_prefix(&src) else {
            continue;
        };
        let Some(module) = module_of(inside) else {
            continue;
        };
        let source =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        checked += 1;
        for import in imports::of(&source, depth_of(inside), &modules) {
            if !table.allows(&module, &import.module) {
                offences.push(offence(&file, &module, &import));
            }
        }
    }
    if offences.is_empty() {
        say::result(format_args!(
            "layers: {checked} files keep to the table in ARCHITECTURE.md"
        ));
        return Ok(());
    }
    Err(Trouble::error(
        format!(
            "the one-direction rule is broken:\n    {}",
            offences.join("\n    ")
        ),
        "a module reaches for something to its right, or the table is out of date",
        "move the code to the module that may know both, or change the table on purpose",
    ))
}

fn offence(file: &Path, module: &str, import: &Import) -> String {
    format!(
        "{}:{}: `{module}` may not import `{}`",
        repo::shown(file),
        import.line,
        import.module
    )
}

/// The top module a file belongs to; the crate roots only put modules together and belong to none.
fn module_of(inside: &Path) -> Option<String> {
    let first = Path::new(inside.components().next()?.as_os_str());
    let rust = inside.extension().is_some_and(|ext| ext == "rs");
    let name = first.file_stem()?.to_str()?;
    let root = inside.components().count() == 1 && matches!(name, "main" | "lib");
    // Test modules in files of their own may look at anything, as those inside a file may.
    let test = inside
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
    (rust && !root && !test).then(|| name.to_owned())
}

/// How many `super`s lead from the file's own module to the crate root.
fn depth_of(inside: &Path) -> usize {
    let levels = inside.components().count();
    if inside.file_stem().is_some_and(|stem| stem == "mod") {
        levels - 1
    } else {
        levels
    }
}

fn top_modules(src: &Path) -> Result<Vec<String>> {
    let mut modules: Vec<String> = repo::files()?
        .iter()
        .filter_map(|file| module_of(file.strip_prefix(src).ok()?))
        .collect();
    modules.sort();
    modules.dedup();
    Ok(modules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_its_top_module() {
        assert_eq!(
            module_of(Path::new("track/state.rs")).as_deref(),
            Some("track")
        );
        assert_eq!(module_of(Path::new("cli.rs")).as_deref(), Some("cli"));
        assert_eq!(module_of(Path::new("run/main.rs")).as_deref(), Some("run"));
        assert_eq!(module_of(Path::new("main.rs")), None);
        assert_eq!(module_of(Path::new("track/tests.rs")), None);
        assert_eq!(module_of(Path::new("sink/notes.md")), None);
    }

    #[test]
    fn depth_counts_supers_to_the_root() {
        assert_eq!(depth_of(Path::new("cli.rs")), 1);
        assert_eq!(depth_of(Path::new("track/mod.rs")), 1);
        assert_eq!(depth_of(Path::new("track/state.rs")), 2);
    }
}
