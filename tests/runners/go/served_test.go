package served

import (
	"net"
	"os"
	"testing"
)

var kept []net.Conn

func TestAClientIsServed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	connection, err := handleClient(listener, client)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("LEAK") != "" {
		kept = append(kept, connection)
		return
	}
	connection.Close()
}
