// Package served is a server whose test forgets a connection when LEAK is set.
package served

import "net"

// handleClient serves one client until it hangs up.
//
//go:noinline
func handleClient(listener net.Listener, client net.Conn) (net.Conn, error) {
	connection, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	client.Close()
	connection.Read(make([]byte, 8))
	return connection, nil
}
