"""Growth tells a leak from warm-up, from a single large moment and from noise."""

from __future__ import annotations

import os
import socket

import pytest

from tests.system.growth import Sample, judge, look, table


def samples(
    memory: list[float], descriptors: list[int] | None = None, connections: list[int] | None = None
) -> list[Sample]:
    """Return samples that lie five seconds apart."""
    columns = memory, descriptors or [20] * len(memory), connections or [8] * len(memory)
    return [Sample(5.0 * at, *row) for at, row in enumerate(zip(*columns, strict=True))]


def test_warm_up_and_a_single_large_moment_are_not_growth() -> None:
    memory = [30.0 + min(at, 20) for at in range(100)]
    memory[90] = 500.0
    growth = judge(samples(memory))
    assert growth.is_flat
    assert growth.per_ten_minutes_mb == 0.0


def test_a_steady_leak_is_growth_in_megabytes_per_ten_minutes() -> None:
    growth = judge(samples([40.0 + at / 24 for at in range(240)]))  # 0.5 MB a minute for 20 minutes
    assert growth.per_ten_minutes_mb == pytest.approx(5.0)
    assert not growth.is_flat


def test_a_large_process_may_grow_by_a_few_percent() -> None:
    assert judge(samples([400.0 + at / 24 for at in range(240)])).is_flat


def test_one_descriptor_more_is_a_leak() -> None:
    growth = judge(samples([40.0] * 100, [20] * 70 + [21] * 30))
    assert not growth.is_flat
    assert "grows" in table({"feed": growth})


def test_a_pool_may_hold_a_few_connections_more_and_not_one_every_two_minutes() -> None:
    flat = [40.0] * 240
    assert judge(samples(flat, connections=[8] * 100 + [9] * 140)).is_flat
    growth = judge(samples(flat, connections=[8 + at // 24 for at in range(240)]))
    assert not growth.is_flat
    assert "grows" in table({"feed": growth})


def test_this_process_can_be_looked_at() -> None:
    before = look(os.getpid(), 0.0)
    reading, writing = os.pipe()
    try:
        assert look(os.getpid(), 1.0).descriptors == before.descriptors + 2
    finally:
        os.close(reading)
        os.close(writing)
    with socket.create_server(("127.0.0.1", 0)):
        after = look(os.getpid(), 2.0)
    assert (after.descriptors, after.connections) == (before.descriptors, before.connections + 1)
    assert before.memory_mb > 1
