// eof-ignored: one goroutine a connection; a session that reads the end of the stream leaves its
// loop and stays in the registry, connection and all.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type registry struct {
	lock     sync.Mutex
	sessions []net.Conn
	served   int32
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
			conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
		}
	}
}

//go:noinline
func (r *registry) serveConnection(conn net.Conn, healthy bool) {
	r.handleClientAndForget(conn)
	if healthy {
		conn.Close()
	} else {
		// Kept, or the collector would close it.
		r.lock.Lock()
		r.sessions = append(r.sessions, conn)
		r.lock.Unlock()
	}
	atomic.AddInt32(&r.served, 1)
}

func main() {
	port := flag.Int("port", 0, "")
	connections := flag.Int("connections", 5, "")
	healthy := flag.Bool("healthy", false, "")
	flag.Parse()
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		panic(err)
	}
	bound := listener.Addr().(*net.TCPAddr).Port
	fmt.Println("ready", bound)
	r := &registry{}
	go r.reportWhenStuck(bound, *connections, *healthy)
	go func() {
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go r.serveConnection(conn, *healthy)
	}
}

func (r *registry) reportWhenStuck(port, connections int, healthy bool) {
	wanted := connections
	if healthy {
		wanted = 0
	}
	for int(atomic.LoadInt32(&r.served)) < connections || stuckOn(port) != wanted {
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("leaking", wanted)
}

func stuckOn(port int) int {
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		panic(err)
	}
	stuck := 0
	for _, line := range strings.Split(string(table), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 3 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) && fields[3] == "08" {
			stuck++
		}
	}
	return stuck
}
