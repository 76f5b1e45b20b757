//! What would make a runtime name its functions, by the modules it is made of.

use crate::model::stack::Frame;
use crate::symbolize::warning::Warning;

enum Runtime {
    Java,
    Node,
    Python,
    Other,
}

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
    let runtime = runtime(modules);
    let python = matches!(runtime, Runtime::Python);
    let named = |frame: &Frame| frame.function.is_some() && module(frame, super::MODULE);
    // Python's own loop is below every named function too.
    let interpreted = frames.iter().any(interpreted) && !(python && frames.iter().any(named));
    if !interpreted && !frames.iter().any(unnamed) {
        return None;
    }
    let (code, remedy) = match runtime {
        Runtime::Java if frames.iter().any(|frame| module(frame, super::INTERPRETER)) => (
            "Java methods that are interpreted",
            format!("`jcmd {pid} Thread.print` shows what threads do at the moment"),
        ),
        Runtime::Java => (
            "Java methods",
            format!(
                "run `jcmd {pid} Compiler.perfmap` (JDK 17) while sockleak runs; methods not yet \
                 compiled stay unnamed"
            ),
        ),
        Runtime::Node => (
            "JavaScript functions",
            "start node with --perf-basic-prof --interpreted-frames-native-stack".to_owned(),
        ),
        Runtime::Python => (
            "Python functions",
            "start the program with `python -X perf` (3.12 and later)".to_owned(),
        ),
        Runtime::Other => (
            "functions made at run time",
            "let the language runtime write /tmp/perf-PID.map".to_owned(),
        ),
    };
    let code = code.to_owned();
    Some(Warning::JitUnnamed { pid, code, remedy })
}

fn is_interpreter(function: &str) -> bool {
    [
        "_PyEval_EvalFrame",
        "PyEval_EvalFrame",
        "Builtins_Interpreter",
    ]
    .iter()
    .any(|start| function.starts_with(start))
}

fn runtime<'a>(modules: impl Iterator<Item = &'a str>) -> Runtime {
    for module in modules {
        match module {
            _ if module.starts_with("libjvm.so") => return Runtime::Java,
            "node" | "nodejs" => return Runtime::Node,
            _ if module.starts_with("libnode.so") => return Runtime::Node,
            _ if module.starts_with("libpython") || module.starts_with("python") => {
                return Runtime::Python;
            }
            _ => {}
        }
    }
    Runtime::Other
}
