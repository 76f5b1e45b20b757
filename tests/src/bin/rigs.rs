//! `rigs`: builds the rigs ahead of a run on a machine without compilers, and starts one by hand;
//! traces one with its twin, and prints the judgement as JSON: a line of the confusion matrix.
use std::io::{Read, Write};
use tests::{compile, judge, manifest, rig};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["build"] => manifest::load().rigs.iter().for_each(build),
        ["build", name] => build(&manifest::entry(name)),
        ["run", name] => run(name, None),
        ["run", name, connections] => run(name, connections.parse().ok()),
        ["trace", name] => trace(name),
        ["list"] => manifest::load()
            .rigs
            .iter()
            .for_each(|entry| say(&entry.name)),
        _ => {
            say("usage: rigs list | build [NAME] | trace NAME | run NAME [CONNECTIONS]");
            std::process::exit(2);
        }
    }
}

fn build(entry: &manifest::Entry) {
    let words = compile::command(entry);
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    say(&words.join(" "));
}

/// Leaves a rig with its sockets stuck until stdin ends.
fn run(name: &str, connections: Option<usize>) {
    let how = rig::Start {
        connections,
        ..rig::Start::default()
    };
    let mut rig = rig::Rig::start(&manifest::entry(name), &how);
    rig.drive();
    say(&format!(
        "pid {} port {} stuck {}",
        rig.pid(),
        rig.port,
        rig.stuck
    ));
    let _ = std::io::stdin().read(&mut [0]);
}

fn trace(name: &str) {
    let traced = judge::trace(&manifest::entry(name));
    say(&judge::judge(&traced).line());
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
