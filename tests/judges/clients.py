"""Clients of every transport, from third-party libraries. Each sends messages and records what it receives."""

import asyncio
import json
import uuid
from contextlib import asynccontextmanager

import httpx
import socketio
import websockets
from httpx_sse import aconnect_sse
from servers import TOP

EVENT = "chat message"
ROOM = "lobby"
PATIENCE_SECONDS = 30
RECORDER = TOP / "tests" / "socketio" / "recorder.js"


class Log:
    """The messages a client has received, in order, as `(offset, text)`. A client may not know offsets."""

    def __init__(self):
        self.heard = []
        self.changed = asyncio.Event()

    def add(self, text, offset=None):
        self.heard.append((offset, text))
        self.changed.set()

    @property
    def texts(self):
        return [text for _, text in self.heard]

    @property
    def offsets(self):
        return [offset for offset, _ in self.heard]

    async def until(self, count):
        """Waits until `count` messages have been received."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(self.heard) < count:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self.heard)} of {count}, last {self.heard[-1:]}") from None


@asynccontextmanager
async def python_socketio(url, transports=None, catch_up=False, place=None):
    """python-socketio. Without catch-up its handler takes exactly the message; with it, a place
    comes behind, which the program gives back as `auth.offset`: the library does not. It begins at
    `place`."""
    log, joined = Log(), asyncio.Event()
    client = socketio.AsyncClient()
    log.place = place

    def one(text):
        log.add(text)

    def two(text, place):
        log.place = place
        log.add(text, int(place.split("/")[0]))

    def begin(joined_frame):
        log.place = log.place or f"{joined_frame['offset']}/{joined_frame['epoch']}"
        joined.set()

    def place_of():
        return {"offset": log.place} if log.place else {}

    client.on(EVENT, two if catch_up else one)
    client.on("joined", begin)
    auth = place_of if catch_up else {"catch_up": False}
    await client.connect(url, transports=transports, auth=auth)
    await asyncio.wait_for(joined.wait(), PATIENCE_SECONDS)

    async def send(text):
        sent = await client.call(EVENT, text, timeout=PATIENCE_SECONDS)
        assert sent["type"] == "sent", sent

    log.send, log.client = send, client
    try:
        yield log
    finally:
        await client.shutdown()


@asynccontextmanager
async def native(url):
    """A plain WebSocket client with the `websockets` package."""
    log, sent = Log(), asyncio.Queue()
    async with websockets.connect(f"{url.replace('http', 'ws')}/v1/ws") as socket:
        await socket.send(json.dumps({"type": "join", "id": 1, "room": ROOM}))
        while json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_SECONDS))["type"] != "joined":
            pass

        async def listen():
            async for data in socket:
                frame = json.loads(data)
                if frame["type"] == "message":
                    log.add(frame["body"]["text"], frame["offset"])
                elif frame["type"] in ("sent", "error"):
                    sent.put_nowait(frame)

        async def send(text):
            request = {"type": "send", "id": text, "room": ROOM, "body": {"text": text}}
            await socket.send(json.dumps(request))
            reply = await asyncio.wait_for(sent.get(), PATIENCE_SECONDS)
            assert (reply["type"], reply["id"]) == ("sent", text), reply

        log.send = send
        async with background(listen()):
            yield log


@asynccontextmanager
async def event_stream(url, other):
    """An event stream with `httpx-sse`. It sends over REST, to another node."""
    log, joined = Log(), asyncio.Event()
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        token = (await http.post(f"{url}/v1/guests")).json()["token"]
        http.headers["authorization"] = f"Bearer {token}"

        async def listen():
            async with aconnect_sse(http, "GET", f"{url}/v1/rooms/{ROOM}/events") as source:
                async for event in source.aiter_sse():
                    if event.event == "joined":
                        joined.set()
                    # The library takes a bare `retry:` for a message without data.
                    elif event.event == "message" and event.data:
                        frame = event.json()
                        assert event.id == f"{frame['epoch']}:{frame['offset']}:{frame['message']}"
                        log.add(frame["body"]["text"], frame["offset"])

        async def send(text):
            headers = {"idempotency-key": uuid.uuid4().hex}
            message = {"body": {"text": text}}
            address = f"{other}/v1/rooms/{ROOM}/messages"
            sent = await http.post(address, json=message, headers=headers)
            assert sent.status_code == 201, sent.text

        log.send = send
        async with background(listen()) as listening:
            await happens(joined, listening)
            yield log


@asynccontextmanager
async def official(url, transports):
    """socket.io-client in Node.js. It does not wait for the answers to its sends."""
    log, joined = Log(), asyncio.Event()
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    child = await asyncio.create_subprocess_exec("node", RECORDER, url, transports, **pipes)

    async def listen():
        async for line in child.stdout:
            said = json.loads(line)
            assert "error" not in said, said
            if "joined" in said:
                joined.set()
            else:
                log.add(said["text"], said["offset"])

    async def send(text):
        child.stdin.write(f"{text}\n".encode())
        await child.stdin.drain()

    log.send = send
    try:
        async with background(listen()) as listening:
            await happens(joined, listening)
            yield log
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@asynccontextmanager
async def background(work):
    """Runs `work` beside the block. A failure of `work` fails the block, at its end at the latest."""
    task = asyncio.create_task(work)
    try:
        yield task
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def happens(event, task):
    """Waits for `event`, which `task` sets, or for a failure of `task`."""
    waiting = asyncio.create_task(event.wait())
    both = {waiting, task}
    await asyncio.wait(both, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
    assert event.is_set(), "not in time"
