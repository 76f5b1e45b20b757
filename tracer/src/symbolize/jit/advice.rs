//! What would make a runtime name its functions, by the modules it is made of: only what works for that very version, or
//! that nothing does.

use std::ops::RangeInclusive;

use crate::model::stack::Frame;
use crate::symbolize::warning::Warning;

/// What is run by a language's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Java,
    Node,
    /// With the minor number of its release, where its file tells it.
    Python(Option<u32>),
    Dotnet,
    Mono,
    Erlang,
    Ruby,
    /// With the number of its release, where its file tells it.
    Php(Option<(u32, u32)>),
    /// Nothing reads its functions, and no flag names them.
    Nameless(&'static str),
    Other,
}

const PERL: Language = Language::Nameless("Perl");
const LUA: Language = Language::Nameless("Lua");
const TCL: Language = Language::Nameless("Tcl");
const GUILE: Language = Language::Nameless("Guile");
const R: Language = Language::Nameless("R");
const PYPY: Language = Language::Nameless("PyPy");
const SBCL: Language = Language::Nameless("SBCL");

/// One warning for a stack in which functions of a runtime's language have no names. `modules` are
/// all that the process has loaded.
pub(in crate::symbolize) fn missing<'a>(
    pid: u32,
    frames: &[Frame],
    modules: impl Iterator<Item = &'a str>,
) -> Option<Warning> {
    let module = |frame: &Frame, name: &str| frame.module.as_deref() == Some(name);
    let unnamed = |frame: &Frame| frame.function.is_none() && module(frame, super::MODULE);
    let interpreted = |frame: &Frame| {
        module(frame, super::INTERPRETER) || frame.function.as_deref().is_some_and(is_interpreter)
    };
    let language = language(modules);
    let python = matches!(language, Language::Python(_));
    let named = |frame: &Frame| frame.function.is_some() && module(frame, super::MODULE);
    // Python's own loop is below every named function too.
    let interpreted = frames.iter().any(interpreted) && !(python && frames.iter().any(named));
    // These keep no names anywhere else.
    let inside = |frame: &Frame| {
        let of = frame.module.as_deref().and_then(of_module);
        of.is_some_and(|of| of == language && is_nameless(of))
    };
    if !interpreted && !frames.iter().any(unnamed) && !frames.iter().any(inside) {
        return None;
    }
    let in_interpreter = frames.iter().any(|frame| module(frame, super::INTERPRETER));
    let (code, remedy) = told(language, in_interpreter, pid);
    Some(Warning::JitUnnamed { pid, code, remedy })
}

fn told(language: Language, interpreted: bool, pid: u32) -> (String, String) {
    let (code, remedy) = match language {
        Language::Java if interpreted => (
            "Java methods that are interpreted",
            format!("`jcmd {pid} Thread.print` shows what threads do at the moment"),
        ),
        Language::Java => (
            "Java methods",
            format!(
                "`jcmd {pid} Compiler.perfmap` lists compiled ones, of JDK 17 and later; for earlier ones there is no flag"
            ),
        ),
        Language::Node => (
            "JavaScript functions",
            "of Node 18 to 24 on x86-64 they are read (`--runtimes node`) from some 50 ms after the first call on, in its first thread; beside that, \
             start node with --perf-basic-prof --interpreted-frames-native-stack"
                .to_owned(),
        ),
        Language::Python(Some(minor)) if minor < 12 => (
            "Python functions",
            format!(
                "Python 3.{minor} has no flag that names them{}",
                if minor >= 8 {
                    "; they are read without one (`--runtimes python`) from some 50 ms after its first call on"
                } else {
                    ""
                }
            ),
        ),
        Language::Python(_) => (
            "Python functions",
            "they are read without a flag (`--runtimes python`) from some 50 ms after its first call on; beside that, Python 3.12 \
             and later name them with `python -X perf`"
                .to_owned(),
        ),
        Language::Dotnet => (
            "functions of .NET",
            "start the program with DOTNET_PerfMapEnabled=1 (COMPlus_PerfMapEnabled=1 before .NET 6)"
                .to_owned(),
        ),
        Language::Mono => (
            "methods that Mono runs",
            "start it with `mono --jitmap`, which lists most of them".to_owned(),
        ),
        Language::Erlang => (
            "functions of Erlang and Elixir",
            "start it with `+JPperf true` (OTP 25 and later, where it compiles to machine code)"
                .to_owned(),
        ),
        Language::Ruby => (
            "Ruby methods",
            "of Ruby 3.0 to 4.0 they are read (`--runtimes ruby`) from some 50 ms after its first call on; no flag of Ruby names them"
                .to_owned(),
        ),
        Language::Php(Some(release)) if !PHP_READ.contains(&release) => (
            "PHP functions",
            format!(
                "of PHP {}.{} they are not read, and no flag of PHP names them",
                release.0, release.1
            ),
        ),
        Language::Php(_) => (
            "PHP functions",
            "of PHP 8.0 to 8.4 they are read (`--runtimes php`) from some 50 ms after its first call on, but not of builds for threads \
             (`php -v` says ZTS); no flag of PHP names them"
                .to_owned(),
        ),
        Language::Nameless(name) => {
            return (
                format!("functions of {name}"),
                format!("no flag of {name} names them"),
            );
        }
        Language::Other => (
            "functions made at run time",
            "let the language runtime write /tmp/perf-PID.map".to_owned(),
        ),
    };
    (code.to_owned(), remedy)
}

/// Releases of PHP whose structures are known.
const PHP_READ: RangeInclusive<(u32, u32)> = (8, 0)..=(8, 4);

fn is_interpreter(function: &str) -> bool {
    [
        "_PyEval_EvalFrame",
        "PyEval_EvalFrame",
        "Builtins_Interpreter",
    ]
    .iter()
    .any(|start| function.starts_with(start))
}

/// Of code in its runtime's own files nothing else tells that functions of the language run there.
const fn is_nameless(language: Language) -> bool {
    matches!(
        language,
        Language::Ruby
            | Language::Php(_)
            | Language::Nameless(_)
            | Language::Erlang
            | Language::Dotnet
            | Language::Mono
    )
}

fn language<'a>(modules: impl Iterator<Item = &'a str>) -> Language {
    modules
        .into_iter()
        .find_map(of_module)
        .unwrap_or(Language::Other)
}

/// By a file of the runtime.
fn of_module(module: &str) -> Option<Language> {
    const PREFIXES: &[(&str, Language)] = &[
        ("libjvm.so", Language::Java),
        ("libnode.so", Language::Node),
        ("libcoreclr.so", Language::Dotnet),
        ("libruby", Language::Ruby),
        ("libperl.so", PERL),
        ("libpypy", PYPY),
        ("libmonosgen-", Language::Mono),
    ];
    /// Programs, with the number of their release or without.
    const PROGRAMS: &[(&str, Language)] = &[
        ("node", Language::Node),
        ("nodejs", Language::Node),
        ("beam.smp", Language::Erlang),
        ("ruby", Language::Ruby),
        ("perl", PERL),
        ("lua", LUA),
        ("luajit", LUA),
        ("tclsh", TCL),
        ("wish", TCL),
        ("guile", GUILE),
        ("R", R),
        ("pypy", PYPY),
        ("sbcl", SBCL),
        ("mono", Language::Mono),
        ("mono-sgen", Language::Mono),
    ];
    let python = module
        .strip_prefix("libpython")
        .or_else(|| module.strip_prefix("python"));
    if let Some(rest) = python {
        let version = rest.strip_prefix("3.");
        let digits = version.map(|rest| rest.split(|c: char| !c.is_ascii_digit()));
        let minor = digits.and_then(|mut digits| digits.next()?.parse().ok());
        let known = rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit());
        return known.then_some(Language::Python(minor));
    }
    let numbered = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    let php = ["php-fpm", "php-cgi", "libphp", "php"];
    if let Some(rest) = php.iter().find_map(|name| module.strip_prefix(name)) {
        let rest = rest.split_once(".so").map_or(rest, |(rest, _)| rest);
        let release = rest.split_once('.').filter(|_| numbered(rest));
        let release = release.and_then(|(of, minor)| Some((of.parse().ok()?, minor.parse().ok()?)));
        return numbered(rest).then_some(Language::Php(release));
    }
    let program = |(name, _): &&(&str, Language)| module.strip_prefix(name).is_some_and(numbered);
    let library = |(name, _): &&(&str, Language)| module.starts_with(name);
    let found = PROGRAMS.iter().find(program);
    let found = found.or_else(|| PREFIXES.iter().find(library));
    found.map(|(_, language)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advised(module: &str, frames: &[(&str, Option<&str>)]) -> Option<String> {
        let frames: Vec<Frame> = frames
            .iter()
            .map(|(module, function)| Frame {
                module: Some((*module).to_owned()),
                function: function.map(str::to_owned),
                ..Frame::default()
            })
            .collect();
        let warning = missing(7, &frames, ["libc.so.6", module].into_iter())?;
        Some(warning.to_string())
    }

    /// For each runtime, and each release that differs: what works, and nothing that does not.
    #[test]
    fn what_is_advised_works_for_that_version() {
        let eval = [("python", Some("_PyEval_EvalFrameDefault"))];
        let made = [("[jit]", None)];
        for (module, frames, says, never) in [
            (
                "python3.7",
                &eval,
                "3.7 has no flag that names them",
                "-X perf",
            ),
            ("libpython3.7m.so.1.0", &eval, "has no flag", "--runtimes"),
            ("python3.11", &eval, "--runtimes python", "-X perf"),
            ("libpython3.12.so.1.0", &eval, "-X perf", "no flag that"),
            (
                "libjvm.so",
                &made,
                "JDK 17 and later; for earlier ones there is no flag",
                "-X perf",
            ),
            ("libcoreclr.so", &made, "DOTNET_PerfMapEnabled=1", "jcmd"),
            ("node", &made, "--perf-basic-prof", "jcmd"),
            ("nodejs", &made, "--runtimes node", "jcmd"),
            ("mono-sgen", &made, "mono --jitmap", "PerfMapEnabled"),
            ("beam.smp", &made, "+JPperf true", "jcmd"),
            ("something", &made, "/tmp/perf-PID.map", "jcmd"),
        ] {
            let told = advised(module, frames).unwrap();
            assert!(
                told.contains(says) && !told.contains(never),
                "{module}: {told}"
            );
        }
    }

    #[test]
    fn runtimes_without_a_flag_say_so() {
        for (module, says) in [
            ("libruby-3.1.so.3.1", "no flag of Ruby"),
            ("ruby3.3", "no flag of Ruby"),
            ("php8.2", "8.0 to 8.4 they are read (`--runtimes php`)"),
            ("php-fpm", "but not of builds for threads"),
            ("php-fpm8.2", "no flag of PHP"),
            ("php-cgi8.4", "--runtimes php"),
            ("libphp8.2.so", "--runtimes php"),
            ("libphp.so", "--runtimes php"),
            ("php7.4", "of PHP 7.4 they are not read, and no flag of PHP"),
            ("libphp7.4.so", "of PHP 7.4 they are not read"),
            ("php8.5", "of PHP 8.5 they are not read"),
            ("libphp5.so", "no flag of PHP"),
            ("perl", "no flag of Perl"),
            ("libperl.so.5.36", "no flag of Perl"),
            ("lua5.3", "no flag of Lua"),
            ("luajit", "no flag of Lua"),
            ("tclsh8.6", "no flag of Tcl"),
            ("guile", "no flag of Guile"),
            ("R", "no flag of R"),
            ("libpypy3.9-c.so", "no flag of PyPy"),
            ("sbcl", "no flag of SBCL"),
        ] {
            let told = advised(module, &[(module, Some("run_ops"))]).unwrap();
            assert!(told.contains(says), "{told}");
            // Another language's library alone says nothing of a program.
            assert_eq!(advised(module, &[("server", Some("main"))]), None);
        }
        assert_eq!(of_module("pythonic-server"), None);
        assert_eq!(of_module("perlin-noise"), None);
        assert_eq!(of_module("luanti"), None);
        assert_eq!(of_module("Rscript-like"), None);
        assert_eq!(of_module("phpstan-server"), None);
        assert_eq!(advised("server", &[("server", Some("main"))]), None);
    }
}
