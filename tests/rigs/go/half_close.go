// half-close-not-forwarded: a proxy of two copying goroutines, one a direction, that waits for both.
// The client's end ends one of them, and nobody tells the upstream: the other waits for ever. The
// healthy twin shuts the other side's writing down when a direction has ended.
package main

import (
	"fmt"
	"io"
	"net"
	"sync"
)

//go:noinline
func (r *rig) copyDirection(to, from *net.TCPConn, done *sync.WaitGroup) {
	io.Copy(to, from)
	if r.healthy {
		to.CloseWrite()
	}
	done.Done()
}

//go:noinline
func (r *rig) proxyConnection(client *net.TCPConn) {
	upstream, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", r.upstream))
	if err != nil {
		panic(err)
	}
	var both sync.WaitGroup
	both.Add(2)
	go r.copyDirection(upstream.(*net.TCPConn), client, &both)
	go r.copyDirection(client, upstream.(*net.TCPConn), &both)
	r.done()
	both.Wait()
	client.Close()
	upstream.Close()
}

func main() {
	r := options()
	listener := r.listen()
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go r.proxyConnection(conn.(*net.TCPConn))
	}
}
