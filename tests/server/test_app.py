"""What the exchange does when carrying something out fails: it stops where its state may be wrong."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import pytest

from common.errors import BrokenInvariant, ExitCode
from common.log.files import replace
from common.logs import Log
from common.paper.faulty_venue import FaultyVenue
from common.paper.store import KIND
from common.server.app import Journal, Server
from tests.paper.test_store import found

FATAL = (AssertionError("a crossed book"), BrokenInvariant("cash"), OSError("disk full"))


async def after(tmp_path: Path, error: Exception, is_broken: bool = False) -> tuple[bool, ExitCode, str]:
    """Return whether an exchange stops after a failure, with which code, and the event it logs."""
    sink = io.StringIO()
    path = tmp_path / "exchange.log"
    venue = found().venue
    server = Server(FaultyVenue(venue), Journal(path, replace(path, KIND, [])), Log("exchange", sink=sink), "token")
    venue.is_broken = is_broken

    def fail() -> None:
        raise error

    assert server._guard(fail) is None
    await server.close()
    return server._stopping.is_set(), server._exit_code, json.loads(sink.getvalue())["event"]


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_exchange_stops_when_something_that_must_hold_does_not(tmp_path: Path, error: Exception) -> None:
    assert asyncio.run(after(tmp_path, error)) == (True, ExitCode.FAILED, "failed")


def test_exchange_stops_after_any_failure_amid_a_command(tmp_path: Path) -> None:
    assert asyncio.run(after(tmp_path, KeyError("x"), is_broken=True)) == (True, ExitCode.FAILED, "failed")


def test_exchange_goes_on_when_only_an_answer_is_lost(tmp_path: Path) -> None:
    assert asyncio.run(after(tmp_path, KeyError("x"))) == (False, ExitCode.OK, "failed")
