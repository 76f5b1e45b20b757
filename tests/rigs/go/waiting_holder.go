// Keeps what it accepted, and waits elsewhere: the main goroutine in read(), some calls deep, another
// in nanosleep(). System calls as such, so that their threads wait and not the runtime.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

//go:noinline
func waitForBackend(depth int, backend int) int {
	if depth > 0 {
		return waitForBackend(depth-1, backend) + 1
	}
	fmt.Println("waits", time.Now().UnixNano())
	got, _ := syscall.Read(backend, make([]byte, 1))
	return got
}

//go:noinline
func sleepUntilNoon() {
	hour := syscall.Timespec{Sec: 3600}
	syscall.Nanosleep(&hour, nil)
}

func main() {
	port := flag.Int("port", 0, "")
	connections := flag.Int("connections", 5, "")
	flag.Parse()
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		panic(err)
	}
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
	var kept []net.Conn
	var served int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				panic(err)
			}
			kept = append(kept, conn)
			if int(atomic.AddInt32(&served, 1)) == *connections {
				fmt.Println("leaking", *connections)
			}
		}
	}()
	go func() {
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	go sleepUntilNoon()
	backend := make([]int, 2)
	if err := syscall.Pipe(backend); err != nil {
		panic(err)
	}
	os.Exit(waitForBackend(3, backend[0]))
}
