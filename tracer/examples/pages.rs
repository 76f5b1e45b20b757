//! Writes what a package has besides the program: a manual page for each command and completions for
//! the shells, both from the command line's own definition. `cargo run --example pages -- DIR`.
#![forbid(unsafe_code)]

use std::{env, fs, io, path::Path};

use clap_complete::{Shell, generate_to};

const NAME: &str = "sockleak";

fn main() -> io::Result<()> {
    let dir = env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: pages DIR"))?;
    let dir = Path::new(&dir);
    let mut command = tracer::cli::command();
    command.build();

    let man = dir.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(command.clone(), &man)?;

    let completions = dir.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, NAME, &completions)?;
    }
    Ok(())
}
