//! Suspended tasks of asyncio in every release whose objects are known, compared with what the program itself says of them.

use std::collections::BTreeMap;
use std::process::Command;

use super::Symbolizer;
use super::program::{Blocked, SYS_RECVFROM, Workshop};
use super::python::{interpreters, minor};
use crate::model::input::ProcessKey;
use crate::model::runtime::Runtimes;

/// Writes of each task its name, its descriptor and its chain, innermost first, and blocks in a callback.
const PROGRAM: &str = r#"
import asyncio, os, socket, sys

ours, theirs = socket.socketpair()
held = {}
everybody = []

class Session:
    def __init__(self, writer):
        self.out = writer

class Slotted:
    __slots__ = ("session",)
    def __init__(self, session):
        self.session = session

def note(writer):
    held[asyncio.current_task().get_name()] = writer.get_extra_info("socket").fileno()

async def numbers(lock):
    for n in range(3):
        async with lock:
            yield n

async def queue(q):
    return await q.get()

async def first(reader, writer):
    note(writer)
    session = Session(writer)
    session.extra = session.__dict__
    del writer, reader
    await queue(asyncio.Queue())

async def second(reader, writer):
    note(writer)
    box = Slotted(Session(writer))
    del writer, reader
    async for one in numbers(lock):
        print(one)

async def third(reader, writer):
    note(writer)
    def closure():
        return writer
    await asyncio.wait_for(
        asyncio.sleep(3600), 3000
    )

async def client(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    note(writer)
    everybody.append(writer)
    await reader.read()

async def nothing(inner):
    await inner

def chain(task):
    at, found = task.get_coro(), []
    while True:
        frame = next((getattr(at, n) for n in ("cr_frame", "gi_frame", "ag_frame") if hasattr(at, n)), None)
        if frame is None:
            break
        found.append((frame.f_code.co_qualname, frame.f_lineno))
        at = next((getattr(at, n) for n in ("cr_await", "gi_yieldfrom", "ag_await") if hasattr(at, n)), None)
    return found[::-1]

def tell(out):
    with open(out + ".part", "w") as file:
        for task in asyncio.all_tasks():
            frames = " ".join(f"{name}:{line}" for name, line in chain(task))
            name = task.get_name()
            file.write(f"{name}\t{held.get(name, -1)}\t{frames}\n")
    os.rename(out + ".part", out)
    ours.recv(1)

async def main():
    global lock
    lock = asyncio.Lock()
    await lock.acquire()
    started = []
    for handler in (first, second, third):
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        started.append(server)
        started.append(asyncio.create_task(client(port)))
        started.append(asyncio.create_task(client(port)))
    inner = asyncio.create_task(asyncio.sleep(3600), name="inner")
    started.append(asyncio.create_task(nothing(inner), name="outer"))
    await asyncio.sleep(0.5)
    asyncio.get_running_loop().call_later(0.2, tell, sys.argv[1])
    await asyncio.Event().wait()

asyncio.run(main())
"#;

type Told = BTreeMap<String, (i32, String)>;

fn told(text: &str) -> Told {
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap().to_owned();
        (next(), (next().parse().unwrap(), next()))
    };
    text.lines().map(line).collect()
}

#[test]
fn suspended_tasks_are_told_as_the_program_tells_them() {
    let interpreters = interpreters();
    for python in interpreters.iter().filter(|python| minor(python) >= 8) {
        let shop = Workshop::new();
        let (script, out) = (shop.path("tasks.py"), shop.path("told"));
        let old = minor(python) < 11;
        let program = PROGRAM.replace("co_qualname", if old { "co_name" } else { "co_qualname" });
        std::fs::write(&script, program).unwrap();
        let blocked = Blocked::run(Command::new(python).arg(&script).arg(&out), SYS_RECVFROM);
        let process = ProcessKey {
            pid: blocked.pid(),
            start_boot: 0,
        };
        let mut symbolizer = Symbolizer::new();
        let begin = std::time::Instant::now();
        let found = symbolizer.tasks(process);
        println!("{}: {:?}", python.display(), begin.elapsed());
        if old || minor(python) > 13 {
            assert_eq!(found, None, "{}", python.display());
            continue;
        }
        let found = found.unwrap();
        let mut expected = told(&std::fs::read_to_string(out).unwrap());
        // No object shows from inside which task another one awaits.
        let inner = expected["inner"].1.clone();
        let outer = expected.get_mut("outer").unwrap();
        outer.1 = format!("{inner} {}", outer.1);
        let ours: Told = found
            .tasks
            .iter()
            .map(|task| {
                let frames = found.stacks[task.stack as usize].iter();
                let frames: Vec<String> = frames
                    .map(|frame| {
                        format!(
                            "{}:{}",
                            frame.function.as_deref().unwrap(),
                            frame.line.unwrap()
                        )
                    })
                    .collect();
                let nearest = task.holds.iter().min_by_key(|(_, far)| *far);
                let fd = nearest.map_or(-1, |(fd, _)| *fd);
                (task.name.clone(), (fd, frames.join(" ")))
            })
            .collect();
        // Nor what a generator that is iterated does.
        for (name, (_, chain)) in &mut expected {
            let whole = &ours[name].1;
            if chain.starts_with("second:") && whole.ends_with(&*chain) {
                assert!(whole.contains(" numbers:22 second:"), "{whole}");
                chain.clone_from(whole);
            }
        }
        assert_eq!(ours, expected, "{}", python.display());
        assert!(ours.len() >= 15 && found.all, "{ours:#?}");
        assert_eq!(ours.values().filter(|(fd, _)| *fd >= 0).count(), 12);
        let mut without = Symbolizer::new();
        without.link.runtimes = Runtimes::NONE;
        assert_eq!(without.tasks(process), None);
    }
}
