//! A server whose test forgets a connection when `LEAK` is set.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

/// Serves one client until it hangs up.
#[inline(never)]
pub fn handle_client(listener: &TcpListener, client: TcpStream) -> TcpStream {
    let (mut connection, _) = listener.accept().unwrap();
    drop(client);
    assert_eq!(connection.read(&mut [0; 8]).unwrap(), 0);
    connection
}

#[test]
fn a_client_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = handle_client(&listener, client);
    if std::env::var_os("LEAK").is_some() {
        std::mem::forget(connection);
    }
}
