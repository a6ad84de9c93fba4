"""Real servers for the tests, on free ports of 127.0.0.1, stopped by their process ID."""

import os
import re
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

TOP = Path(__file__).resolve().parents[2]
RELEASE = TOP / "target" / "release"
SECRET = "a secret of at least thirty-two bytes"
START_SECONDS = 30


def free_ports(count):
    """Returns ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Process:
    """A child process in a directory of its own. Its output is kept and shown when it fails."""

    def __init__(self, directory, command, env=None):
        self.log = Path(directory) / "output.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                cwd=directory,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self):
        return self.log.read_text(errors="replace")

    @property
    def alive(self):
        return self.child.poll() is None

    def until(self, what, check):
        """Waits until `check` returns something true, and returns that."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            if seen := check():
                return seen
            if not self.alive or time.monotonic() > deadline:
                raise AssertionError(f"not {what} in time, or ended:\n{self.output[-4000:]}")
            time.sleep(0.05)

    def kill(self):
        self.child.kill()
        self.child.wait()


@contextmanager
def process(*command, env=None):
    """Runs a command until the block ends."""
    with tempfile.TemporaryDirectory(prefix="hubbub-judges-") as directory:
        running = Process(directory, command, env)
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def conformance():
    """Runs the conformance example and yields its `host:port`. It must still run at the end."""
    with process(RELEASE / "examples" / "conformance", "0") as example:
        found = lambda: re.search(r"listening on (\S+)", example.output)
        yield example.until("ready", found)[1]
        assert example.alive, f"the example has ended:\n{example.output}"


@contextmanager
def redis():
    (port,) = free_ports(1)
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with process("redis-server", *options) as server:
        server.until("ready", lambda: "Ready to accept connections" in server.output)
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def node(number=1, **settings):
    """Runs `hubbub serve` and yields its URL. It must still run at the end. Settings as `HTTP__BIND="…"`."""
    door, ops = free_ports(2)
    settings = {
        "NODE__ID": f"node-{number}",
        "HTTP__BIND": f"127.0.0.1:{door}",
        "OPS__BIND": f"127.0.0.1:{ops}",
        "AUTH__SECRET": SECRET,
        # The tests send faster than people.
        "LIMITS__SENDS_PER_SECOND": "0",
        "LIMITS__USER_SENDS_PER_SECOND": "0",
        "LIMITS__USER_NEW_ROOMS_PER_MINUTE": "0",
        "LIMITS__CONNECTIONS_PER_ADDRESS": "0",
        **settings,
    }
    env = {f"HUBBUB__{key}": value for key, value in settings.items()}
    with process(RELEASE / "hubbub", "serve", env=env) as serving:
        serving.until("ready", lambda: is_ready(f"http://127.0.0.1:{ops}/readyz"))
        yield f"http://127.0.0.1:{door}"
        assert serving.alive, f"node {number} has ended:\n{serving.output[-4000:]}"


def is_ready(url):
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
