import asyncio, os
from wyoming.server import AsyncEventHandler, AsyncServer


class Echo(AsyncEventHandler):
    async def handle_event(self, event):
        await self.write_event(event)
        return True


asyncio.run(AsyncServer.from_uri(f"tcp://127.0.0.1:{os.environ['PORT']}").run(Echo))
