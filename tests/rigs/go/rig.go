// What the Go rigs share: options, the listener, telling the harness when the leak is complete, and
// leaving when stdin ends. No client's connection is touched here.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

type rig struct {
	port, upstream, connections int
	healthy                     bool
	served                      int32
}

func options() *rig {
	r := &rig{}
	flag.IntVar(&r.port, "port", 0, "")
	flag.IntVar(&r.upstream, "upstream", 0, "")
	flag.IntVar(&r.connections, "connections", 5, "")
	flag.BoolVar(&r.healthy, "healthy", false, "")
	flag.Parse()
	go func() {
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	return r
}

func (r *rig) listen() net.Listener {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		panic(err)
	}
	r.port = listener.Addr().(*net.TCPAddr).Port
	fmt.Println("ready", r.port)
	go r.reportWhenStuck(1)
	return listener
}

// A rig that is a client: --port names its server.
func (r *rig) beClient() {
	fmt.Println("ready", r.port)
	go r.reportWhenStuck(2)
}

// A connection that the rig is done with, for good or ill.
func (r *rig) done() { atomic.AddInt32(&r.served, 1) }

func (r *rig) reportWhenStuck(end int) {
	wanted := r.connections
	if r.healthy {
		wanted = 0
	}
	for int(atomic.LoadInt32(&r.served)) < r.connections || r.stuck(end) != wanted {
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("leaking", wanted)
}

// Sockets in CLOSE_WAIT with the rig's port at this end: 1 is the local one, 2 the remote.
func (r *rig) stuck(end int) int {
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		panic(err)
	}
	port, found := fmt.Sprintf(":%04X", r.port), 0
	for _, line := range strings.Split(string(table), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 3 && strings.HasSuffix(fields[end], port) && fields[3] == "08" {
			found++
		}
	}
	return found
}
