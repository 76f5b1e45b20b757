// lost-reference: a handler takes its connection out of the HTTP server's hands, answers and returns.
// The server closes only what is its own, and nobody reads the end.
package main

import (
	"net"
	"net/http"
	"sync"
)

type streams struct {
	rig  *rig
	lock sync.Mutex
	open []net.Conn
}

//go:noinline
func (s *streams) answerAndForget(conn net.Conn) {
	conn.Write([]byte(reply))
	if s.rig.healthy {
		conn.Close()
		return
	}
	// Kept, or the collector would close it.
	s.lock.Lock()
	defer s.lock.Unlock()
	s.open = append(s.open, conn)
}

func (s *streams) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	conn, _, err := writer.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	s.answerAndForget(conn)
	s.rig.done()
}

func main() {
	rig := options()
	panic(http.Serve(rig.listen(), &streams{rig: rig}))
}
