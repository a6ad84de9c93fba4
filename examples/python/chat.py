"""A chat in the terminal, without an SDK: python chat.py [URL]   (pip install websockets)"""
import asyncio, json, sys
from websockets.asyncio.client import connect

async def listen(socket):
    async for frame in socket:
        frame = json.loads(frame)  # what was said before stands in `joined`, as its `events`
        for event in frame.get("events", [frame]):
            match event:  # what is no chat has no text, and what was deleted no body
                case {"type": "message", "from": {"name": name}, "body": {"text": text}}:
                    print(f"{name}: {text}", flush=True)

async def main(url="ws://127.0.0.1:3000/v1/ws"):
    async with connect(url) as socket:
        await socket.send(json.dumps({"type": "join", "id": 1, "room": "lobby", "recent": 20}))
        listening = asyncio.create_task(listen(socket))
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(json.dumps({"type": "send", "id": 2, "room": "lobby", "body": {"text": line.strip()}}))
        await asyncio.sleep(0.5)  # for what is still on its way
        listening.cancel()

asyncio.run(main(*sys.argv[1:]))
