// never-read: accepted connections are queued for a worker that was never started.
package main

import "net"

//go:noinline
func acceptAndQueue(listener net.Listener, queue chan<- net.Conn) {
	conn, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	queue <- conn
}

func serve(r *rig, queue <-chan net.Conn) {
	for conn := range queue {
		conn.Read(make([]byte, 1024))
		conn.Close()
		r.done()
	}
}

func main() {
	rig := options()
	listener := rig.listen()
	queue := make(chan net.Conn, rig.connections)
	if rig.healthy {
		go serve(rig, queue)
	}
	for {
		acceptAndQueue(listener, queue)
		if !rig.healthy {
			rig.done()
		}
	}
}
