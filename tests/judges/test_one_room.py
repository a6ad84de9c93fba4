"""Clients of every transport in one room, over three nodes. All logs agree in order and content."""

import asyncio
from contextlib import AsyncExitStack, ExitStack
from functools import partial

import pytest
import socketio
from clients import EVENT, PATIENCE_SECONDS, event_stream, native, official, python_socketio
from servers import node, redis

MESSAGES = 100


@pytest.fixture(scope="module")
def urls():
    with ExitStack() as stack:
        settings = {"REDIS__URL": stack.enter_context(redis())}
        yield [stack.enter_context(node(number, **settings)) for number in (1, 2, 3)]


def test_all_logs_agree(urls):
    asyncio.run(talk(urls))


async def talk(urls):
    one, two, three = urls
    doors = {
        "python-socketio": python_socketio(one),
        "python-socketio, polling": python_socketio(two, ["polling"]),
        "python-socketio, websocket": python_socketio(three, ["websocket"]),
        "python-socketio with catch-up": python_socketio(two, catch_up=True),
        "socket.io-client": official(two, "polling,websocket"),
        "socket.io-client, polling": official(three, "polling"),
        "websockets": native(one),
        "websockets elsewhere": native(three),
        "an event stream": event_stream(one, two),
        "an event stream elsewhere": event_stream(three, three),
    }
    async with AsyncExitStack() as stack:
        logs = {name: await stack.enter_async_context(door) for name, door in doors.items()}
        async with asyncio.TaskGroup() as senders:
            for name, log in logs.items():
                senders.create_task(say_all(name, log))
        total = MESSAGES * len(logs)
        for log in logs.values():
            await log.until(total)
        await asyncio.sleep(0.3)
    judge(logs, total)


async def say_all(name, log):
    for text in texts(name):
        await log.send(text)


def texts(name):
    return [f"{name} says {number} – ü 🎉 \"quoted\"" for number in range(MESSAGES)]


def judge(logs, total):
    order = logs["websockets"]
    assert len(order.heard) == total, "every message exactly once"
    first = order.offsets[0]
    assert order.offsets == list(range(first, first + total)), "offsets without a gap"
    for name, log in logs.items():
        assert log.texts == order.texts, f"{name}: the same order"
        assert log.offsets in (order.offsets, [None] * total), f"{name}: the same offsets"
        own = [text for text in order.texts if text.startswith(f"{name} says ")]
        assert own == texts(name), f"{name}: the sender's order"


def test_python_socketio_comes_back_by_itself(urls):
    asyncio.run(come_back(urls[0]))


async def come_back(url):
    async with python_socketio(url, ["websocket"]) as log:
        await log.send("before")
        await log.until(1)
        again = asyncio.Event()
        log.client.on("joined", lambda *_: again.set())
        await log.client.eio.ws.close()
        await asyncio.wait_for(again.wait(), PATIENCE_SECONDS)
        await log.send("after")
        await log.until(2)
        assert log.texts == ["before", "after"]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_python_socketio_gets_what_it_missed(urls, transport):
    asyncio.run(catch_up(*urls[:2], transport))


async def catch_up(url, elsewhere, transport):
    """It has no `pid`; its program gives the place of the last event back as `auth.offset`."""
    async with native(elsewhere) as other:
        # Before the first event: the place that `joined` tells.
        async with python_socketio(url, [transport], catch_up=True) as log:
            await log.client.disconnect()
            await other.send("before the first")
            place = log.place
        async with python_socketio(url, [transport], catch_up=True, place=place) as log:
            await log.until(1)
            again = asyncio.Event()
            log.client.on("welcome", lambda *_: again.set())
            await break_off(log.client, transport)
            missed = [f"missed {number}" for number in range(20)]
            for text in missed:
                await other.send(text)
            await asyncio.wait_for(again.wait(), PATIENCE_SECONDS)
            await log.until(21)
            place = log.place
        await other.send("after the end")
        async with python_socketio(elsewhere, [transport], catch_up=True, place=place) as late:
            await late.until(1)
            await other.send("last")
            await late.until(2)
            assert late.texts == ["after the end", "last"], "on another node, and once"
        assert log.texts == ["before the first", *missed]
        assert [*log.offsets, *late.offsets] == other.offsets, "once and in order"


async def break_off(client, transport):
    """Cuts the connection without a word of Socket.IO."""
    if transport == "websocket":
        await client.eio.ws.close()
    else:
        await client.eio.http.close()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_what_is_refused_says_why(urls, transport):
    asyncio.run(refused(urls[0], transport))


async def refused(url, transport):
    client = socketio.AsyncClient()
    reasons = {}
    for namespace in ("/", "/nowhere"):
        refuse = partial(reasons.__setitem__, namespace)
        client.on("connect_error", refuse, namespace=namespace)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(url, transports=[transport], auth={"token": "wrong"})
    assert reasons == {
        "/": {"message": "bad token", "data": {"code": "unauthorized"}},
        "/nowhere": {"message": "Invalid namespace"},
    }
    client = socketio.AsyncClient()
    await client.connect(url, transports=[transport], auth={"catch_up": False})
    for bad, code in ((b"\x01\x02", "bad_frame"), ("x" * 20_000, "too_large")):
        reply = await client.call(EVENT, bad, timeout=PATIENCE_SECONDS)
        assert (reply["type"], reply["code"]) == ("error", code)
    sent = await client.call(EVENT, "small", timeout=PATIENCE_SECONDS)
    assert sent["type"] == "sent"
    await client.shutdown()
