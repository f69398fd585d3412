"""State dumps: every core can be shown whole, whatever it holds, within bounds."""

from __future__ import annotations

import json
from collections import deque
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import pytest

from common.bus import state_dump
from common.bus.state_dump import dump_state
from common.clock import Now
from common.effects import Core, Drained, Start
from common.settings import Settings
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.feed import Feed
from processes.inference import Inference
from processes.recorder import Recorder
from processes.status import Status
from processes.sync import Sync
from processes.tracking import Tracking

CORES: tuple[type[Core], ...] = (Coordinator, Execution, Feed, Inference, Recorder, Status, Sync, Tracking)


class Colour(StrEnum):
    RED = "red"


class Pair(NamedTuple):
    left: int
    right: object


class Row(msgspec.Struct):
    name: str
    colour: Colour = Colour.RED


class Slotted:
    __slots__ = ("inner", "unset")

    def __init__(self, inner: object) -> None:
        self.inner = inner


class Thing:
    def __init__(self, **facts: object) -> None:
        self.__dict__.update(facts)


def shown(value: object) -> Any:
    return json.loads(dump_state(value))


def test_every_kind_of_value_is_shown_as_what_it_is() -> None:
    thing = Thing(
        row=Row("a"), pair=Pair(1, None), queue=deque([1, 2]), names={1: "x"}, some={3}, raw=b"\xffz", large=2**70,
        slotted=Slotted("deep"), act=shown, nan=float("nan"),
    )  # fmt: skip
    assert shown(thing) == {
        "row": {"name": "a", "colour": "red"}, "pair": {"left": 1, "right": None}, "queue": [1, 2],
        "names": {"1": "x"}, "some": [3], "raw": "\ufffdz", "large": str(2**70),
        "slotted": {"inner": "deep", "unset": None}, "act": "(function)", "nan": None,
    }  # fmt: skip


def test_what_refers_to_itself_is_shown_once() -> None:
    one = Thing(name="one")
    two = Thing(other=one)
    one.other = two  # type: ignore[attr-defined]
    assert shown(one) == {"name": "one", "other": {"other": "(Thing, shown elsewhere)"}}


def test_size_and_depth_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_dump, "ITEMS_MAX", 2)
    monkeypatch.setattr(state_dump, "TEXT_MAX", 3)
    assert shown([1, 2, 3]) == [1, 2, "... and 1 more"]
    assert shown({"a": 1, "b": 2, "c": 3}) == {"a": 1, "b": 2, "...": "and 1 more"}
    assert shown("abcd") == "abc... (4 characters)"
    deep: list[Any] = []
    for _ in range(state_dump.DEPTH_MAX + 5):
        deep = [deep]
    assert "(list, not shown)" in dump_state(deep).decode()
    monkeypatch.setattr(state_dump, "NODES_MAX", 3)
    assert shown([[1], [2]]) == [[1], "(list, not shown)"]


@pytest.mark.parametrize("build", CORES, ids=lambda core: core.__name__)
def test_every_core_can_be_shown(build: type[Core]) -> None:
    core = build()
    now = Now(10**12, 1_790_000_000 * 10**9)
    core.update(Start(session="s", entropy=1, epoch=1, config=msgspec.json.encode(Settings()), journal_id="j"), now)
    core.update(Drained(), now)
    seen = shown(core)
    assert set(vars(core)) <= set(seen)
    assert len(seen) > 1
