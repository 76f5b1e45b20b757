// owner-blocked: each connection has a goroutine of its own, which reads the request and then waits for a mutex that
// another one never gives back.
package main

import (
	"net"
	"os"
	"sync"
)

var statistics sync.Mutex

//go:noinline
func updateStatistics() int {
	statistics.Lock()
	defer statistics.Unlock()
	return os.Getpid()
}

func serve(r *rig, conn net.Conn) {
	conn.Read(make([]byte, 1024))
	r.done()
	updateStatistics()
	conn.Close()
}

func main() {
	rig := options()
	statistics.Lock()
	listener := rig.listen()
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go serve(rig, conn)
	}
}
