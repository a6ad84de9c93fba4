"""Autobahn's cases, run by kosoku, against `/echo`: the real upgrade code and frame layer."""

import asyncio

import pytest
from kosoku import FailureError, run_fuzzingclient
from servers import conformance

# The number of cases in each group, so that no case is skipped silently.
GROUPS = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1}
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def echo():
    with conformance() as address:
        yield f"ws://{address}/echo"


def run(url, group):
    cases = run_fuzzingclient(url, [f"{group}.*"])
    return asyncio.run(asyncio.wait_for(cases, PATIENCE_SECONDS))


@pytest.mark.parametrize(("group", "count"), GROUPS.items())
def test_group(echo, group, count):
    results = run(echo, group)
    assert len(results) == count
    assert all(result.passed for result in results)


@pytest.mark.parametrize("group", [12, 13])
def test_compression_is_not_negotiated(echo, group):
    with pytest.raises(FailureError) as failure:
        run(echo, group)
    verdicts = {result.behavior.value for result in failure.value.results}
    assert verdicts == {"UNIMPLEMENTED"}
