// eof-ignored: one goroutine a connection; a session that reads the end of the stream leaves its
// loop and stays in the registry, connection and all.
package main

import (
	"bufio"
	"net"
	"strings"
	"sync"
)

type registry struct {
	lock     sync.Mutex
	sessions []net.Conn
}

//go:noinline
func (r *registry) handleClientAndForget(conn net.Conn) int {
	requests := 0
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return requests
		}
		if strings.TrimSpace(line) == "" {
			requests++
			conn.Write([]byte(reply))
		}
	}
}

//go:noinline
func (r *registry) serveConnection(conn net.Conn, rig *rig) {
	r.handleClientAndForget(conn)
	if rig.healthy {
		conn.Close()
	} else {
		// Kept, or the collector would close it.
		r.lock.Lock()
		r.sessions = append(r.sessions, conn)
		r.lock.Unlock()
	}
	rig.done()
}

func main() {
	rig := options()
	listener := rig.listen()
	r := &registry{}
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go r.serveConnection(conn, rig)
	}
}
