//! From a handle of libuv to the listeners of its `net.Socket`: the wrapper in C++, its object in JavaScript, which
//! points back to it, the socket that owns that and points back to it, and its `_events`.

use super::function::{self, Function, Sources};
use super::heap::{Heap, Key};
use super::layout::Layout;
use crate::model::listeners::{Event, EventListeners, Listeners};
use crate::model::stack::Frame;
use crate::symbolize::runtimes::memory::Memory;

/// Of one event.
const MAX_LISTENERS: usize = 16;

/// Has what handles lead to read in few rounds: their wrappers, and of these the objects.
pub(super) fn fetch(memory: &mut Memory<'_>, layout: &Layout, handles: Vec<u64>) {
    let mut places = handles;
    for offset in [layout.persistent, 0, 0] {
        let words = places.iter().filter_map(|at| memory.word(*at));
        let words = words.map(|word| word.wrapping_add(offset));
        places = words.collect();
        memory.want(places.iter().copied());
    }
}

/// `None` where something on the way is not what it must be.
pub(super) fn listeners(
    heap: &mut Heap<'_, '_>,
    handle: u64,
    sources: &mut Sources,
) -> Option<Listeners> {
    let wrap = heap.memory.word(handle)?;
    let slot = heap
        .memory
        .word(wrap.checked_add(heap.layout.persistent)?)?;
    let object = heap.memory.word(slot)?;
    heap.embedder_fields(object)?
        .contains(&wrap)
        .then_some(())?;
    let [owner] = heap.properties(object, [Key::Symbol("owner_symbol")])?;
    let socket = owner?;
    let [own, hidden, events, half_open, server, parser] = heap.properties(
        socket,
        [
            Key::Name("_handle"),
            Key::Symbol("kHandle"),
            Key::Name("_events"),
            Key::Name("allowHalfOpen"),
            Key::Name("server"),
            Key::Name("parser"),
        ],
    )?;
    [own, hidden].contains(&Some(object)).then_some(())?;
    let mut found = Listeners {
        half_open: half_open.and_then(|word| heap.truth(word)),
        ..Listeners::default()
    };
    if let Some(parser) = parser {
        found.is_http = !heap.is_nothing(parser);
    }
    of_socket(heap, events?, sources, &mut found)?;
    if let Some(server) = server
        && !heap.is_nothing(server)
        && heap.is(server, heap.layout.types.object)
    {
        of_server(heap, server, sources, &mut found)?;
    }
    Some(found)
}

fn of_socket(
    heap: &mut Heap<'_, '_>,
    events: u64,
    sources: &mut Sources,
    found: &mut Listeners,
) -> Option<()> {
    let values = heap.properties(
        events,
        Event::OF_SOCKET.map(|event| Key::Name(event.name())),
    )?;
    for (event, value) in Event::OF_SOCKET.into_iter().zip(values) {
        let Some(value) = value else { continue };
        let (told, runtime) = of_event(heap, event, value, sources)?;
        if event == Event::End {
            // This one is there from the beginning, and ends nothing of a socket that may be half open.
            let itself = |(name, file): &(String, String)| {
                name == "onReadableStreamEnd" && file == "node:net"
            };
            found.end_is_heard = !told.functions.is_empty() || !runtime.iter().all(itself);
        }
        if !told.functions.is_empty() {
            found.events.push(told);
        }
    }
    Some(())
}

fn of_server(
    heap: &mut Heap<'_, '_>,
    server: u64,
    sources: &mut Sources,
    found: &mut Listeners,
) -> Option<()> {
    let [events] = heap.properties(server, [Key::Name("_events")])?;
    let Some(events) = events else {
        return Some(());
    };
    let values = heap.properties(
        events,
        Event::OF_SERVER.map(|event| Key::Name(event.name())),
    )?;
    for (event, value) in Event::OF_SERVER.into_iter().zip(values) {
        let Some(value) = value else { continue };
        let (told, runtime) = of_event(heap, event, value, sources)?;
        let any = !told.functions.is_empty() || !runtime.is_empty();
        found.is_below_tls |= any && event == Event::SecureConnection;
        if !told.functions.is_empty() {
            found.events.push(told);
        }
    }
    Some(())
}

/// The program's listeners; and name and file of Node's own.
fn of_event(
    heap: &mut Heap<'_, '_>,
    event: Event,
    value: u64,
    sources: &mut Sources,
) -> Option<(EventListeners, Vec<(String, String)>)> {
    let (all, more) = function::listeners(heap, value, MAX_LISTENERS)?;
    let mut functions: Vec<Frame> = Vec::new();
    let mut runtime = Vec::new();
    for one in all {
        match heap.function(one, sources)? {
            Function::Program(frame) => functions.push(frame),
            Function::Runtime { name, file } => runtime.push((name, file)),
        }
    }
    let told = EventListeners {
        event,
        functions,
        more,
    };
    Some((told, runtime))
}
