import asyncio, sys
import aiohttp
from aiohttp import web
kept = []
async def check_stock(session, port):
    answer = await session.get(f"http://127.0.0.1:{port}/stock")
    kept.append(answer)
    return answer.status
async def front(request):
    return web.Response(text=str(await check_stock(request.app["session"], port + 1)))
async def main():
    app = web.Application()
    app["session"] = aiohttp.ClientSession()
    app.router.add_get("/", front)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()
port = int(sys.argv[1])
asyncio.run(main())
