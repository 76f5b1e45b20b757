//! Reads the thread dump of a Java virtual machine: which thread has which name and which frames. The
//! text is made by the traced process, names in it by anybody: nothing in it is more than a claim.

use std::collections::HashMap;

use crate::model::stack::{Frame, JAVA};

const MAX_THREADS: usize = 8192;
const MAX_FRAMES: usize = 128;
/// Characters.
const MAX_NAME: usize = 512;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JavaThread {
    pub name: String,
    /// Innermost first; empty when it has none or they are not known.
    pub frames: Vec<Frame>,
}

/// By the thread's id in the machine's own pid namespace.
pub(super) type Dump = HashMap<u32, JavaThread>;

/// All threads that the text names without contradiction. A text that was cut off is fine.
pub(super) fn parse(text: &str) -> Dump {
    let mut dump = Dump::new();
    let mut current: Option<(u32, JavaThread)> = None;
    // The end of a text that was cut off in the middle of a line says nothing.
    let whole = text.rfind('\n').and_then(|end| text.get(..end));
    for line in whole.unwrap_or_default().lines() {
        if let Some((id, name)) = header(line) {
            add(&mut dump, current.take());
            if dump.len() >= MAX_THREADS {
                break;
            }
            let frames = Vec::new();
            current = Some((id, JavaThread { name, frames }));
        } else if line.trim_start().starts_with("Carrying virtual thread") {
            // What follows are the carrier's own frames, and not what runs on it.
            if let Some((id, carrier)) = current.take() {
                add(&mut dump, Some((id, carrier)));
            }
        } else if let Some((_, thread)) = &mut current
            && thread.frames.len() < MAX_FRAMES
        {
            thread.frames.extend(frame(line));
        }
    }
    add(&mut dump, current);
    dump
}

/// A name may contain line ends, and so what looks like another thread. Of two that claim one id,
/// neither is believed: an empty name marks them until the end.
fn add(dump: &mut Dump, thread: Option<(u32, JavaThread)>) {
    let Some((id, thread)) = thread else { return };
    dump.entry(id)
        .and_modify(|known| *known = JavaThread::default())
        .or_insert(thread);
}

/// `"name" #12 prio=5 os_prio=0 cpu=1.20ms elapsed=3.4s tid=0x00007f… nid=0x1a2b runnable [0x…]`; JDK 21
/// writes `nid` in decimal. Nothing after the name contains a quote.
fn header(line: &str) -> Option<(u32, String)> {
    let (name, rest) = line.strip_prefix('"')?.rsplit_once('"')?;
    let id = rest
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("nid="))?;
    let id = match id.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => id.parse().ok()?,
    };
    Some((id, shortened(name)))
}

/// `at java.net.Socket.read(java.base@17.0.15/Socket.java:345)`, also with the module before the class.
fn frame(line: &str) -> Option<Frame> {
    let call = line.trim_start().strip_prefix("at ")?.trim_end();
    let (method, place) = call.strip_suffix(')')?.rsplit_once('(')?;
    let place = place.rsplit('/').next().unwrap_or(place);
    let (file, line) = match place.rsplit_once(':') {
        Some((file, line)) => (file, line.parse().ok()),
        None => (place, None),
    };
    // `Native Method`, `Unknown Source` and `<generated>` are no files.
    let is_file = !file.is_empty() && !file.contains([' ', '<']) && file != "Redefined";
    Some(Frame {
        function: Some(shortened(&plain(method))),
        module: Some(JAVA.to_owned()),
        file: is_file.then(|| shortened(file)),
        line: line.filter(|_| is_file),
        ..Frame::default()
    })
}

/// Without loader and module (`app//`, `java.base@17.0.15/`), and without the number of a hidden class
/// (`Main$$Lambda$14/0x0000000800c03200.run`), which is another one in each run.
fn plain(method: &str) -> String {
    let is_number = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    let (class, method) = match method.rsplit_once('/') {
        Some((class, rest)) if is_number(rest) => {
            (class, rest.split_once('.').map(|(_, method)| method))
        }
        _ => (method, None),
    };
    let class = class.rsplit('/').next().unwrap_or(class);
    match method {
        Some(method) => format!("{class}.{method}"),
        None => class.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OF_17: &str = "\
2026-01-01 10:00:00
Full thread dump OpenJDK 64-Bit Server VM (17.0.15+6 mixed mode, sharing):

\"pool-1-thread-1\" #13 prio=5 os_prio=0 cpu=2.1ms elapsed=3.4s tid=0x00007f2a600017e0 nid=0x676e runnable  [0x00007f2acc1fd000]
   java.lang.Thread.State: RUNNABLE
\tat sun.nio.ch.SocketDispatcher.write0(java.base@17.0.15/Native Method)
\tat sun.nio.ch.NioSocketImpl.tryWrite(java.base@17.0.15/NioSocketImpl.java:398)
\t- locked <0x000000069ec02f40> (a java.lang.Object)
\tat Blocked$MetricsHandler.handle(Blocked.java:13)
\tat Blocked$$Lambda$14/0x00007f2a4c003200.run(Unknown Source)
\tat app//com.example.Main.main(Main.java)

   Locked ownable synchronizers:
\t- <0x000000069ee1b0a8> (a java.util.concurrent.ThreadPoolExecutor$Worker)

\"VM Thread\" os_prio=0 cpu=1.96ms elapsed=4.23s tid=0x00007f2af00f4370 nid=0x6760 runnable
";

    fn called(frame: &Frame) -> (&str, Option<&str>, Option<u32>) {
        (
            frame.function.as_deref().unwrap(),
            frame.file.as_deref(),
            frame.line,
        )
    }

    #[test]
    fn names_and_frames_of_a_dump_of_17() {
        let dump = parse(OF_17);
        assert_eq!(dump.len(), 2);
        let worker = &dump[&0x676e];
        assert_eq!(worker.name, "pool-1-thread-1");
        let frames: Vec<_> = worker.frames.iter().map(called).collect();
        assert_eq!(
            frames,
            [
                ("sun.nio.ch.SocketDispatcher.write0", None, None),
                (
                    "sun.nio.ch.NioSocketImpl.tryWrite",
                    Some("NioSocketImpl.java"),
                    Some(398)
                ),
                (
                    "Blocked$MetricsHandler.handle",
                    Some("Blocked.java"),
                    Some(13)
                ),
                ("Blocked$$Lambda$14.run", None, None),
                ("com.example.Main.main", Some("Main.java"), None),
            ]
        );
        assert_eq!(worker.frames[0].module.as_deref(), Some("[java]"));
        assert_eq!(dump[&0x6760].name, "VM Thread");
        assert!(dump[&0x6760].frames.is_empty());
    }

    #[test]
    fn later_versions_write_ids_in_decimal_and_carry_virtual_threads() {
        let dump = parse(
            "\"main\" #1 [4711] prio=5 os_prio=0 cpu=1ms elapsed=2s tid=0x7f nid=4711 waiting [0x7f]\n\
             \tat java.base@21.0.2/java.lang.Thread.sleep0(Native Method)\n\n\
             \"ForkJoinPool-1-worker-1\" #22 [4712] daemon prio=5 tid=0x7f nid=4712 runnable [0x7f]\n\
             \x20  Carrying virtual thread #21\n\
             \tat jdk.internal.vm.Continuation.run(java.base@21.0.2/Continuation.java:251)\n\n",
        );
        assert_eq!(
            called(&dump[&4711].frames[0]),
            ("java.lang.Thread.sleep0", None, None)
        );
        assert_eq!(dump[&4712].name, "ForkJoinPool-1-worker-1");
        assert!(dump[&4712].frames.is_empty());
    }

    #[test]
    fn a_name_cannot_speak_for_another_thread() {
        let quoted = "\"a\" nid=0x7 b\" #1 tid=0x1 nid=0x8 runnable\n";
        assert_eq!(parse(quoted)[&8].name, "a\" nid=0x7 b");
        let forged = "\"GET /\n\"main\" #1 nid=0x9 x\n\tat evil.Frame.f(E.java:1)\n\
                      \"main\" #1 tid=0x1 nid=0x9 runnable\n\tat app.Main.main(Main.java:3)\n";
        assert_eq!(parse(forged)[&9], JavaThread::default());
    }

    #[test]
    fn a_dump_may_end_anywhere() {
        for (end, _) in OF_17.char_indices() {
            for (id, thread) in parse(&OF_17[..end]) {
                let whole = &parse(OF_17)[&id];
                assert_eq!(thread.name, whole.name);
                assert!(whole.frames.starts_with(&thread.frames));
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC*", lines in proptest::collection::vec(
            "(\"|\tat |nid=|0x|/|\\(|\\)|:|\\.|[a-z0-9 ]|\"x\" nid=7){0,12}", 0..20)) {
            parse(&text);
            let dump = parse(&lines.join("\n"));
            prop_assert!(dump.len() <= MAX_THREADS);
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut text = format!("\"{}\" nid=1 x\n", "n".repeat(100_000));
        for _ in 0..1000 {
            text.push_str("\tat a.B.c(D.java:1)\n");
        }
        let more = (2..20_000).map(|id| format!("\"t\" nid={id} x\n"));
        text.extend(more);
        let dump = parse(&text);
        assert_eq!(dump.len(), MAX_THREADS);
        assert_eq!(dump[&1].name.len(), MAX_NAME);
        assert_eq!(dump[&1].frames.len(), MAX_FRAMES);
    }

    #[test]
    fn damaged_dumps_are_read() {
        crate::damaged::run("jvm-dump", 4000, |bytes| {
            parse(&String::from_utf8_lossy(bytes));
        });
    }
}
