// idle-pool, by what can be proven: a client that never closes the body of its answers. Connected here,
// the answer read in full, the server has closed: nothing but growth tells such connections from
// those that a pool keeps on purpose.
package main

import (
	"fmt"
	"net/http"
)

//go:noinline
func (r *rig) fetchAndForget(client *http.Client) *http.Response {
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/item", r.port))
	if err != nil {
		panic(err)
	}
	if r.healthy {
		answer.Body.Close()
	}
	return answer
}

func main() {
	r := options()
	r.beClient()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: r.connections}}
	var answers []*http.Response
	got := make(chan *http.Response)
	for i := 0; i < r.connections; i++ {
		go func() { got <- r.fetchAndForget(client) }()
	}
	for i := 0; i < r.connections; i++ {
		answers = append(answers, <-got)
		r.done()
	}
	select {}
}
