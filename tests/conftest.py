"""Fixtures for all tests: running exchanges and probes that sign for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.probe import ExchangeProcess, Probe, running


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
