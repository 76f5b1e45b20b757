package main

import (
	"log"
	"os"

	"github.com/valyala/fasthttp"
)

var client fasthttp.Client

func askStock(path []byte) string {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	req.SetRequestURI("http://127.0.0.1:" + os.Args[2] + string(path))
	if err := client.Do(req, res); err != nil {
		return err.Error()
	}
	return string(res.Body())
}

func handle(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(askStock(ctx.Path())) }

func main() { log.Fatal(fasthttp.ListenAndServe("127.0.0.1:"+os.Args[1], handle)) }
