// never-accepted: the accept loop takes a place in a bounded set of handlers before each accept(), as
// a limiting listener does. The handlers wait for a service that is silent and give no place back:
// the clients they have are answered, later ones wait in the queue, give up and die there.
package main

import (
	"fmt"
	"net"
)

const places = 3

type limiter struct{ free chan struct{} }

//go:noinline
func (l *limiter) acquire() { l.free <- struct{}{} }

func (l *limiter) release() { <-l.free }

// Billing, logging, an audit: what a handler does after the answer.
//
//go:noinline
func (r *rig) tellUpstream() {
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", r.upstream))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	conn.Write([]byte("one more\r\n"))
	conn.Read(make([]byte, 1))
}

//go:noinline
func (r *rig) serve(conn net.Conn, limit *limiter) {
	conn.Read(make([]byte, 1024))
	conn.Write([]byte(reply))
	conn.Close()
	if !r.healthy {
		r.tellUpstream()
	}
	limit.release()
}

//go:noinline
func (r *rig) acceptLoop(listener net.Listener, limit *limiter) {
	for {
		limit.acquire()
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		r.done()
		go r.serve(conn, limit)
	}
}

func main() {
	r := options()
	if r.healthy {
		r.served = -places
	} else {
		// Those in the queue are never counted as served.
		r.served = int32(r.connections)
	}
	r.acceptLoop(r.listen(), &limiter{make(chan struct{}, places)})
}
