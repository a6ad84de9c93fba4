"""The node's OpenAPI document, and schemathesis against the node."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest
from servers import node

HERE = Path(__file__).resolve().parent
BUDGET_SECONDS = 60


@pytest.fixture(scope="module")
def url():
    with node() as address:
        yield address


def test_the_document_needs_no_token(url):
    answer = httpx.get(f"{url}/v1/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    assert len(document["paths"]) >= 14


def test_every_answer_is_as_the_document_says(url):
    token = httpx.post(f"{url}/v1/guests").json()["token"]
    schemathesis = Path(sys.executable).parent / "schemathesis"
    with tempfile.TemporaryDirectory(prefix="hubbub-judges-") as folder:
        judge = [schemathesis, "--config-file", HERE / "schemathesis.toml", "--no-color", "run"]
        options = ["--header", f"Authorization: Bearer {token}", "--max-time", f"{BUDGET_SECONDS}"]
        judged = subprocess.run(
            [*judge, f"{url}/v1/openapi.json", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
            timeout=10 * BUDGET_SECONDS,
        )
    assert judged.returncode == 0, judged.stdout[-10_000:] + judged.stderr[-2_000:]
    print(judged.stdout[-600:])
