//! Listeners of sockets in every release of Node.js at hand, compared with what the program itself says of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Symbolizer;
use super::program::Workshop;
use crate::model::input::ProcessKey;
use crate::model::listeners::{Event, Heard, Listeners, WhyUnheard};
use crate::model::runtime::Runtimes;
use crate::model::stack::Frame;

/// Writes of each of its sockets the descriptor and what listens to it: name and line, the line by where the text of
/// the function is in the file.
const PROGRAM: &str = r"
const net = require('net'), http = require('http'), fs = require('fs');
const source = fs.readFileSync(__filename, 'utf8');
const told = [];

function at(f) {
  const place = source.indexOf(Function.prototype.toString.call(f));
  return `${f.name || '(anonymous)'}:${source.slice(0, place).split('\n').length}`;
}
function listen(socket, line, event, f, how = 'on') {
  socket[how === 'once' ? 'once' : 'on'](event, how === 'bind' ? f.bind({}) : f);
  (line[event] ||= []).push(at(f));
}
class Session {
  constructor() { this.read = 0; }
  onRead(chunk) { this.read += chunk.length; }
  static async shared() { return 'static'; }
  get half() { return (chunk) => this.read / chunk; }
}
function named(chunk) { return chunk; }
const arrow = chunk => 'é✓' + chunk;
const session = new Session();
const many = Array.from({ length: 3 }, (_, n) => function () { return n; });
function outer(value) {
  let a = 1, b = 2, c = { value };
  return function inner(chunk) { a += b; c.chunk = chunk; return () => a + c; };
}
const cases = [
  (s, l) => listen(s, l, 'data', named),
  (s, l) => listen(s, l, 'data', arrow),
  (s, l) => { listen(s, l, 'data', session.onRead, 'bind'); listen(s, l, 'error', () => {}); },
  (s, l) => { listen(s, l, 'readable', Session.shared, 'once'); listen(s, l, 'close', (x) => x.once, 'once'); },
  (s, l) => { listen(s, l, 'data', session.half); listen(s, l, 'data', outer(1)); listen(s, l, 'end', named); },
  (s, l) => { for (let i = 0; i < 300; i++) s['p' + i] = i; delete s.p7; listen(s, l, 'data', named); },
  (s, l) => { for (let i = 0; i < 50; i++) s.on('ev' + i, named); listen(s, l, 'data', outer(2), 'once'); },
  (s, l) => { s.pipe(s); l.piped = true; },
  (s, l) => { s.pause(); },
  (s, l) => { listen(s, l, 'data', eval('(function evaluated() {})')); },
];
for (const f of [named, arrow, session.onRead]) for (let i = 0; i < 30000; i++) f.call(session, 'x');
let open = 0;
function accepted(socket) {
  const number = open++;
  const line = { connection: [at(accepted)], fd: socket._handle.fd, half: socket.allowHalfOpen };
  told.push(line);
  cases[number % cases.length](socket, line);
}
const server = net.createServer({ allowHalfOpen: true }, accepted);
function onRequest(request) {
  told.push({ request: [at(onRequest)], fd: request.socket._handle.fd, half: true, http: true });
}
const web = http.createServer(onRequest);
server.listen(0, '127.0.0.1', () => web.listen(0, '127.0.0.1', () => {
  let left = cases.length;
  for (let i = 0; i < cases.length; i++) net.connect(server.address().port, '127.0.0.1', function () {
    this.on('error', () => {});
    if (--left === 0) net.connect(web.address().port, '127.0.0.1', function () {
      this.write('GET / HTTP/1.1\r\nHost: here\r\n\r\n');
    });
  });
}));
// Young objects move, and those that live on move once more.
let garbage = [];
setInterval(() => { garbage = Array.from({ length: 20000 }, (_, n) => ({ n })); }, 20);
setInterval(() => {
  if (told.length <= cases.length) return;
  const events = ['data', 'readable', 'end', 'close', 'error', 'connection', 'request'];
  const lines = told.map((line) => [line.fd, line.half, !!line.http, !!line.piped,
    ...events.map((event) => (line[event] || []).join('+'))].join('\t'));
  fs.writeFileSync(process.argv[2] + '.part', lines.join('\n'));
  fs.renameSync(process.argv[2] + '.part', process.argv[2]);
}, 100);
";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As `cargo xtask test` installs them, and the distribution's.
pub(super) fn releases() -> Vec<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/node");
    let installed = std::fs::read_dir(installed).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed
        .map(|version| version.path().join("bin/node"))
        .chain([PathBuf::from("/usr/bin/node")])
        .filter(|node| node.exists())
        .collect();
    found.sort();
    found
}

fn start(node: &Path, script: &Path, out: &Path) -> Running {
    let _ = std::fs::remove_file(out);
    let mut command = Command::new(node);
    let child = command.arg(script).arg(out).stdin(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    let until = Instant::now() + Duration::from_secs(20);
    while !out.exists() {
        assert!(Instant::now() < until, "{}", node.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    running
}

fn line(fd: i32, found: &Listeners, piped: bool) -> String {
    let at = |frame: &Frame| {
        let (name, line) = (frame.function.as_deref().unwrap(), frame.line);
        line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"))
    };
    let of = |event: Event| {
        let names: Vec<String> = found.of(event).iter().map(at).collect();
        names.join("+")
    };
    let events = [
        Event::Data,
        Event::Readable,
        Event::End,
        Event::Close,
        Event::Error,
        Event::Connection,
        Event::Request,
    ];
    let mut words = vec![
        fd.to_string(),
        found.half_open.unwrap().to_string(),
        found.is_http.to_string(),
        piped.to_string(),
    ];
    words.extend(events.map(of));
    words.join("\t")
}

#[test]
fn listeners_are_told_as_the_program_tells_them() {
    let mut equal = 0;
    for node in releases() {
        let shop = Workshop::new();
        let (script, out) = (shop.path("serveur_é.js"), shop.path("told"));
        std::fs::write(&script, PROGRAM).unwrap();
        let running = start(&node, &script, &out);
        let process = ProcessKey {
            pid: running.0.id(),
            start_boot: 0,
        };
        let told = std::fs::read_to_string(&out).unwrap();
        let told: Vec<&str> = told.lines().collect();
        let descriptor = |line: &&str| line.split('\t').next().unwrap().parse().unwrap();
        let mut descriptors: Vec<i32> = told.iter().map(descriptor).collect();
        descriptors.push(9999);
        let mut symbolizer = Symbolizer::new();
        for round in 0..5 {
            let begin = Instant::now();
            let mut found = symbolizer.listeners(process, &descriptors).unwrap();
            println!("{} {round}: {:?}", node.display(), begin.elapsed());
            let missing = found.pop();
            assert_eq!(missing, Some(Heard::Unknown(WhyUnheard::NoHandle)));
            for ((fd, heard), told) in descriptors.iter().zip(found).zip(&told) {
                let Heard::By(found) = heard else {
                    // It went on in that moment.
                    assert_eq!(heard, Heard::Unknown(WhyUnheard::Moved), "{told}");
                    continue;
                };
                let piped = told.split('\t').nth(3) == Some("true");
                // It is in no file.
                let told = told.replace("evaluated:38", "evaluated");
                assert_eq!(line(*fd, &found, piped), told, "{}", node.display());
                let hears = piped || !found.of(Event::End).is_empty();
                assert!(found.is_http || found.end_is_heard == hears, "{told}");
                equal += 1;
                for frame in found.events.iter().flat_map(|one| &one.functions) {
                    let file = frame.file.as_deref();
                    let evaluated = frame.function.as_deref() == Some("evaluated");
                    assert_eq!(file, (!evaluated).then(|| script.to_str().unwrap()));
                }
            }
        }
        let mut without = Symbolizer::new();
        without.link.runtimes = Runtimes::NONE;
        assert_eq!(without.listeners(process, &descriptors), None);
    }
    println!("{equal} sockets equal");
    assert!(equal > 0 || releases().is_empty());
}
