"""Fixtures for all tests: run directories, running exchanges and probes that sign for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.probe import ExchangeProcess, Probe, running

# How long a case takes says how busy the machine is, and nothing about the code.
settings.register_profile("trader", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trader")


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run directory for one test, with a name short enough for the unix sockets in it."""
    return tmp_path_factory.mktemp("r")


@pytest.fixture(scope="module")
def exchange_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    """Run an exchange whose markets stand still (scenario `quiet`), one for each test file."""
    with running(tmp_path_factory.mktemp("quiet"), "--scenario", "quiet") as exchange:
        yield exchange


@pytest.fixture(scope="module")
def living_exchange_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    """Run an exchange with living markets (the default scenario), one for each test file."""
    with running(tmp_path_factory.mktemp("living")) as exchange:
        yield exchange


@pytest.fixture
def probe(exchange_server: ExchangeProcess) -> Iterator[Probe]:
    """Sign and ask the quiet exchange."""
    probe = Probe(exchange_server.ready)
    yield probe
    probe.close()
