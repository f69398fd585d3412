"""Event reader: whatever is lost, repeated or late on the way, the core gets each event once and in order."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from common.bus.event_reader import AHEAD_MAX, EventReader
from common.bus.publisher import EVENTS_KEPT_BYTES_MAX
from common.effects import EventsLost
from common.messages import Activity, Events
from tests.bus.support import activity, mono_ns, wires


def body(number: int) -> bytes:
    """Return an event's body that tells its number."""
    return b"%d" % number


def reply(first: int, last: int, first_kept: int = 1, owner_last: int | None = None) -> Events:
    """Return the owner's answer with events first to last."""
    events = tuple(Raw(body(number)) for number in range(first, last + 1))
    return Events(topic="trade", first_kept=first_kept, events=events, last=last if owner_last is None else owner_last)


def reader_at(position: int, is_durable: bool = False) -> EventReader:
    """Return a reader that has delivered events up to a position."""
    reader = EventReader("trade", is_durable)
    assert reader.told(position, is_newborn=False) == []
    return reader


def ask(reader: EventReader) -> int | None:
    """Ask as the repairer does."""
    after = reader.wants()
    if after is not None:
        reader.asked()
    return after


def test_events_in_order_are_delivered_at_once() -> None:
    reader = reader_at(0)
    assert [reader.hear(number, body(number)) for number in (1, 2)] == [[b"1"], [b"2"]]
    assert reader.wants() is None


def test_gap_holds_back_what_follows_until_it_is_repaired() -> None:
    reader = reader_at(1)
    assert reader.hear(4, b"4") == []
    assert ask(reader) == 1
    assert reader.repair(1, reply(2, 3)) == (None, [b"2", b"3", b"4"])
    assert reader.wants() is None


def test_duplicate_and_late_events_are_not_delivered_again() -> None:
    reader = reader_at(1)
    reader.hear(2, b"2")
    assert reader.hear(2, b"2") == []
    assert reader.hear(1, b"1") == []


def test_heartbeat_tells_of_a_lost_last_event() -> None:
    reader = reader_at(5)
    assert reader.told(6, is_newborn=False) == []
    assert ask(reader) == 5
    assert reader.repair(5, reply(6, 6)).bodies == [b"6"]


def test_first_contact_begins_with_what_comes_now() -> None:
    reader = EventReader("trade", is_durable=False)
    assert reader.hear(8, b"8") == []  # not known yet whether we should have had the ones before
    assert reader.told(9, is_newborn=False) == [b"8"]
    assert ask(reader) == 8


def test_owner_born_after_us_is_asked_for_everything() -> None:
    reader = EventReader("trade", is_durable=False)
    reader.hear(3, b"3")
    assert reader.told(3, is_newborn=True) == []
    assert ask(reader) == 0
    assert reader.repair(0, reply(1, 3)).bodies == [b"1", b"2", b"3"]


def test_events_the_owner_no_longer_has_are_reported_as_lost() -> None:
    reader = reader_at(10)
    reader.hear(21, b"21")
    assert ask(reader) == 10
    lost, bodies = reader.repair(10, reply(16, 20, first_kept=16, owner_last=21))
    assert lost == EventsLost(topic="trade", first=11, last=15)
    assert bodies == [body(number) for number in range(16, 22)]


def test_answer_in_parts_is_asked_for_until_it_is_complete() -> None:
    reader = reader_at(0)
    reader.told(4, is_newborn=False)
    assert ask(reader) == 0
    assert reader.repair(0, reply(1, 2, owner_last=4)).bodies == [b"1", b"2"]
    assert ask(reader) == 2
    assert reader.repair(2, reply(3, 4)).bodies == [b"3", b"4"]
    assert reader.wants() is None


def test_answer_that_a_live_event_overtook_is_not_believed_about_later_events() -> None:
    reader = reader_at(3)
    reader.told(5, is_newborn=False)
    assert ask(reader) == 3
    reader.hear(7, b"7")  # 6 was lost after the question
    assert reader.repair(3, reply(4, 5)).bodies == [b"4", b"5"]
    assert ask(reader) == 5
    assert reader.repair(5, reply(6, 7)).bodies == [b"6", b"7"]


def test_volatile_events_of_an_ended_life_are_lost_and_the_new_life_counts_from_one() -> None:
    reader = reader_at(3)
    reader.hear(6, b"6")
    assert reader.begin_life(is_first=False) == EventsLost(topic="trade", first=4, last=6)
    assert reader.hear(1, b"1") == [b"1"]


def test_durable_events_go_on_over_the_owners_lives() -> None:
    reader = reader_at(3, is_durable=True)
    assert reader.begin_life(is_first=False) is None
    assert ask(reader) == 3  # it may have kept one that it never got to send
    assert reader.repair(3, reply(4, 4)).bodies == [b"4"]
    assert reader.wants() is None
    assert reader.hear(5, b"5") == [b"5"]


def test_following_from_a_number_asks_for_what_came_after_it() -> None:
    reader = EventReader("fill", is_durable=True)
    reader.follow(7)
    assert ask(reader) == 7
    assert reader.hear(9, b"9") == []
    assert reader.repair(7, reply(8, 8, owner_last=9)).bodies == [b"8", b"9"]


def test_owner_whose_numbering_began_anew_is_noticed() -> None:
    reader = reader_at(57, is_durable=True)
    reader.begin_life(is_first=False)
    assert ask(reader) == 57
    lost, bodies = reader.repair(57, Events(topic="fill", first_kept=1, events=(), last=2))
    assert lost == EventsLost(topic="trade", first=3, last=57)
    assert bodies == []
    assert reader.hear(3, b"3") == [b"3"]


def test_what_waits_behind_a_gap_is_bounded_and_repaired_later() -> None:
    reader = reader_at(0)
    for number in range(2, AHEAD_MAX + 10):
        reader.hear(number, body(number))
    assert ask(reader) == 0
    assert len(reader.repair(0, reply(1, 1, owner_last=AHEAD_MAX + 9)).bodies) == AHEAD_MAX + 1
    assert ask(reader) == AHEAD_MAX + 1


@given(st.data(), st.integers(1, 25), st.booleans())
def test_every_event_is_delivered_once_in_order_whatever_is_dropped(
    data: st.DataObject, count: int, is_durable: bool
) -> None:
    reader = reader_at(0, is_durable)
    delivered: list[bytes] = []
    question: int | None = None
    for sent in range(1, count + 1):
        if data.draw(st.booleans(), label=f"event {sent} arrives"):
            delivered += reader.hear(sent, body(sent))
        if data.draw(st.booleans(), label="heartbeat"):
            delivered += reader.told(sent, is_newborn=False)
        if question is None and data.draw(st.booleans(), label="ask"):
            question = ask(reader)
        elif question is not None and data.draw(st.booleans(), label="answer"):
            upto = min(sent, question + data.draw(st.integers(1, 5)))
            caught = reader.repair(question, reply(question + 1, upto, owner_last=sent))
            assert caught.lost is None
            delivered += caught.bodies
            question = None
    delivered += reader.told(count, is_newborn=False)
    while (after := ask(reader)) is not None:
        delivered += reader.repair(after, reply(after + 1, count)).bodies
    assert delivered == [body(number) for number in range(1, count + 1)]


def test_what_a_publisher_keeps_of_large_events_has_a_bound_and_is_the_newest(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        status = bus.publisher("status")
        large = msgspec.structs.replace(activity(0), detail="x" * (EVENTS_KEPT_BYTES_MAX // 10))
        for number in range(100):
            status.publish("activity", "", msgspec.structs.replace(large, at_wall_ns=number), mono_ns())
        first = status.events_since("activity", 0).first_kept
        kept = list[Raw]()
        while part := status.events_since("activity", first - 1 + len(kept)).events:
            kept += part
    assert sum(len(bytes(event)) for event in kept) <= EVENTS_KEPT_BYTES_MAX
    numbers = [msgspec.json.decode(event, type=Activity).at_wall_ns for event in kept]
    assert numbers == list(range(100))[first - 1 :]
    assert len(numbers) == 9
