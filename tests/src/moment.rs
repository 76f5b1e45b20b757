//! A program in C that leaves connections and lives for a moment.
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its first argument is how many connections it leaves, its second how many milliseconds it lives after that.
const SOURCE: &str = r"
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
static int peer;
__attribute__((noinline)) int handle_client(int listener) {
    int connection = accept(listener, 0, 0);
    char byte;
    close(peer);
    if (read(connection, &byte, 1) != 0) abort();
    return connection;
}
int main(int count, char **words) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    bind(listener, (void *)&at, size);
    getsockname(listener, (void *)&at, &size);
    listen(listener, 8);
    for (int i = 0; i < atoi(words[1]); i++) {
        peer = socket(AF_INET, SOCK_STREAM, 0);
        connect(peer, (void *)&at, size);
        int connection = handle_client(listener);
        if (count > 3) close(connection);
    }
    usleep(1000 * atoi(words[2]));
    return 0;
}
";

/// Built into `folder`.
pub fn build(folder: &Path) -> PathBuf {
    build_below(folder, 0)
}

/// Another program with other functions and frames, which behaves the same.
pub fn build_other(folder: &Path) -> PathBuf {
    let room = "char byte; volatile char room[4000]; room[0] = 1;";
    let source = SOURCE.replace("handle_client", "serve_peer");
    compile(folder, "other", &source.replace("char byte;", room))
}

/// With so many lines inserted above its functions.
pub fn build_below(folder: &Path, lines: usize) -> PathBuf {
    let above = "/* another line */\n".repeat(lines);
    compile(folder, "moment", &format!("{above}{SOURCE}"))
}

fn compile(folder: &Path, name: &str, text: &str) -> PathBuf {
    let source = folder.join(name).with_extension("c");
    std::fs::write(&source, text).expect("the source");
    let program = folder.join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-g", "-o"]).arg(&program).arg(&source);
    assert!(gcc.status().expect("gcc").success());
    program
}
