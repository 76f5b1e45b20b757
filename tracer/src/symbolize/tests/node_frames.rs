//! Functions of JavaScript that call C++, in every release of Node.js at hand, compared with what the program itself
//! says it executes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tracer_common::runtime::{Activation, MAX_MANAGED, Runtime, v8};

use super::Symbolizer;
use super::node::releases;
use super::program::{Blocked, SYS_READ, Workshop};
use crate::model::input::ProcessKey;
use crate::model::stack::NODE;
use crate::symbolize::{Function, Functions, Noted, RuntimeOf, StackCopy};

/// Writes function, file and line of the function of each of its frames to a file, and waits. What Node itself executes has
/// no line, and what V8 has built in is left out.
const PROGRAM: &str = r"
const fs = require('fs'), vm = require('vm'), path = require('path');
const source = fs.readFileSync(__filename, 'utf8');
const waits = Buffer.alloc(1);
Error.stackTraceLimit = Infinity;
const warm = Number(process.argv[3] || 0);
let rounds = warm;

const begins = { wait: 'function wait', Session: 'constructor(go)', start: 'static start', gérer: 'gérer(depth) {',
  through: 'function through', far: '= function far', generator: 'function* gen', later: 'const later', };
function line(site) {
  const name = site.getFunctionName();
  if (site.getFileName() === '/in/vm.js') return 1;
  if (site.getFileName() !== __filename) return '';
  // The others are on one line each.
  const place = source.lastIndexOf(begins[name] || '\0');
  return place < 0 ? site.getLineNumber() : source.slice(0, place).split('\n').length;
}
function wait() {
  if (rounds-- > 0) return;
  const usual = Error.prepareStackTrace;
  Error.prepareStackTrace = (_, sites) => sites;
  const sites = new Error().stack;
  Error.prepareStackTrace = usual;
  const told = sites.filter((site) => site.getFileName() && !site.isAsync() && !site.isPromiseAll());
  fs.writeFileSync(process.argv[2] + '.part', told.map((site) =>
    [site.getFunctionName() || '(anonymous)', site.getFileName(), line(site)].join('\t')).join('\n'));
  fs.renameSync(process.argv[2] + '.part', process.argv[2]);
  fs.readSync(0, waits, 0, 1, null);
}
class Session {
  constructor(go) { if (go) this.half; }
  get half() { return this.gérer(1); }
  gérer(depth) { return depth ? this.gérer(depth - 1) : Session.start(7); }
  static start(n) { return [n].map((x) => through(x)); }
}
function through(n) {
  globalThis.far = function far() { return generator().next(n); };
  return vm.runInThisContext('far()', { filename: '/in/vm.js' }) ?? n;
}
function* generator() { yield hot(4); }
function hot(n) { return cold(n) + 1; }
function cold(n) { return later(n); }
const later = (n) => { new (class { constructor() { wait(); } })(); return n; };
for (let i = 0; i < warm; i++) new Session(true);
setTimeout(async function timer() { await null; new Session(true); }, 10);
";

/// As the kernel program does it, of a thread that does not run.
fn walk(memory: &File, of: &Runtime) -> Vec<Activation> {
    let word = |at: u64| {
        let mut bytes = [0; 8];
        let read = memory.read_exact_at(&mut bytes, at);
        read.map_or(0, |()| u64::from_le_bytes(bytes))
    };
    let (mut fp, mut pc, mut found) = (word(of.state), 0_u64, Vec::new());
    for _ in 0..MAX_MANAGED {
        let context = word(fp - 8);
        if context & 1 == 1 {
            let code = word(word(fp - 16).wrapping_add(of.shared));
            let returns = word(pc - 2) & 0xffff_ffff_ffff == 0xe065_8b4c_d1ff;
            let offset = if returns { word(fp - 40) } else { 0 };
            let instruction = v8::at(v8::place(pc, offset), word(code.wrapping_add(of.scope)));
            found.push(Activation { code, instruction });
        }
        let is_entry = [2, 4].contains(&context);
        pc = if is_entry { 0 } else { word(fp + 8) };
        fp = word(if is_entry { fp - 64 } else { fp });
        if fp == 0 {
            break;
        }
    }
    found
}

fn noted(symbolizer: &mut Symbolizer, pid: u32, noted: Noted<'_>) -> Functions {
    let process = ProcessKey { pid, start_boot: 0 };
    let copy = StackCopy {
        noted,
        ..StackCopy::of_nothing(process)
    };
    symbolizer.functions(&copy).unwrap()
}

fn at_call(functions: &[Activation]) -> Noted<'_> {
    let deeper = false;
    Noted::Functions { functions, deeper }
}

fn of_sample(functions: &[Activation]) -> Noted<'_> {
    let deeper = false;
    Noted::Sampled { functions, deeper }
}

fn lines(functions: &Functions) -> Vec<String> {
    let line = |one: &Function| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let line = one.frame.line.map(|line| line.to_string());
        let (function, file) = (text(&one.frame.function), text(&one.frame.file));
        [function, file, text(&line)].join("\t")
    };
    functions.functions.iter().map(line).collect()
}

fn equal_frames(node: &Path, flags: &[&str], rounds: &str) -> (usize, usize) {
    let shop = Workshop::new();
    let (script, out) = (shop.path("serveur_é.js"), shop.path("told"));
    std::fs::write(&script, PROGRAM).unwrap();
    let mut command = Command::new(node);
    command.args(flags).arg(&script).arg(&out).arg(rounds);
    let blocked = Blocked::run(&mut command, SYS_READ);
    let told = std::fs::read_to_string(out).unwrap();
    let told: Vec<String> = told.lines().map(str::to_owned).collect();
    let mut symbolizer = Symbolizer::new();
    let pid = blocked.pid();
    let process = ProcessKey { pid, start_boot: 0 };
    let mut ask = || symbolizer.runtime(&StackCopy::of_nothing(process));
    // Nothing is read any more once it has taken too long; what was found out by then is kept.
    let found = match ask() {
        Some(RuntimeOf::NotYet) => ask(),
        found => found,
    };
    let Some(RuntimeOf::Known(words)) = found else {
        panic!("{}: {found:?}", node.display());
    };
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let frames = walk(&memory, &zerocopy::transmute!(words));
    let named = noted(&mut symbolizer, pid, at_call(&frames));
    assert!(!named.truncated, "{} {named:#?}", node.display());
    let mut found = lines(&named);
    // What waits is called by what has told.
    assert_eq!(found.remove(0), "readSync\tnode:fs\t", "{}", node.display());
    // So it does while it waits.
    let waits = symbolizer.resolve(&blocked.present().view());
    let frames_now = waits.stack.frames.iter();
    let frames_now = frames_now.filter(|frame| frame.module.as_deref() == Some(NODE));
    let now = Functions {
        functions: frames_now
            .map(|frame| Function {
                frame: frame.clone(),
                identity: 0,
            })
            .collect(),
        ..Functions::default()
    };
    assert_eq!(lines(&now)[1..], found, "{}", node.display());
    assert_eq!(waits.stack.frames[0].module.as_deref(), Some("libc.so.6"));
    assert!(!waits.stack.truncated, "{}", node.display());
    // What was compiled into its caller has no frame; nothing else may be missing, and nothing more be there.
    let mut rest = told.iter();
    for one in &found {
        assert!(
            rest.any(|told| told == one),
            "{one} of {found:#?} {told:#?}"
        );
    }
    // Another function in its place has another description.
    let mut others = frames.clone();
    let place = others.len() / 2;
    others[place].instruction ^= 1 << 40;
    assert!(noted(&mut symbolizer, pid, at_call(&others)).truncated);
    // Of a sample what is further out is told all the same.
    let outer = noted(&mut symbolizer, pid, of_sample(&frames[place + 1..]));
    assert!(!outer.functions.is_empty(), "{}", node.display());
    let left = noted(&mut symbolizer, pid, of_sample(&others));
    assert_eq!(left, outer, "{}", node.display());
    let last = others.len() - 1;
    others[last].instruction ^= 1 << 40;
    let nothing = noted(&mut symbolizer, pid, of_sample(&others));
    assert_eq!(nothing, Functions::default(), "{}", node.display());
    (found.len(), told.len())
}

#[test]
fn what_calls_c_is_named_as_it_names_itself() {
    // Interpreted; by the first compiler; by the last, each function by itself; and as many as can be in one.
    let modes: [(&[&str], &str); 4] = [
        (&[], "0"),
        (&["--always-sparkplug"], "0"),
        (&["--no-turbo-inlining"], "20000"),
        (&[], "20000"),
    ];
    for node in releases() {
        for (flags, rounds) in modes {
            let (equal, all) = equal_frames(&node, flags, rounds);
            println!(
                "{} {flags:?} {rounds}: {equal} of {all} frames",
                node.display()
            );
            assert!(equal >= if rounds == "0" { all } else { all / 2 });
        }
    }
}
