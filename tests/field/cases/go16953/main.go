package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
)

var port, _ = strconv.Atoi(os.Args[1])

func checkStock() int {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port+1))
	if err != nil {
		return 0
	}
	return response.StatusCode
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, checkStock()) })
	http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", port), nil)
}
