"""Tap: hears everything, knows what it missed, and slows nobody."""

from __future__ import annotations

from pathlib import Path

from common.bus.tap import Heard, Tap
from common.messages import Book
from tests.bus.support import Ear, activity, book, mono_ns, wires
from tests.waiting import wait_for


def numbers(heard: list[Heard]) -> list[int]:
    """Return the sequence numbers of what was heard, without heartbeats."""
    return [row.frame.header.seq for row in heard if row.frame.topic != "heartbeat"]


def test_tap_hears_by_prefix_and_every_message_once(tmp_path: Path) -> None:
    with wires(tmp_path) as bus, Tap(bus.run_dir, ["book/A", "activity/"]) as tap:
        feed = bus.publisher("feed")
        for ticker in ("A1", "A2", "B"):
            feed.publish("book", ticker, book(ticker), mono_ns())
        heard: list[Heard] = []

        def listen() -> int:
            feed.tend(mono_ns())
            heard.extend(tap.receive())
            return len(heard)

        wait_for(lambda: listen() == 2)
        feed.publish("activity", "", activity(1), mono_ns())
        wait_for(lambda: listen() == 3)
        assert sorted(row.frame.key for row in heard) == ["", "A1", "A2"]
        assert tap.lost == 0


def test_tap_that_cannot_keep_up_counts_its_loss_and_harms_no_other_reader(tmp_path: Path) -> None:
    with wires(tmp_path) as bus, Tap(bus.run_dir, [""], queue_max=10) as tap:
        feed = bus.publisher("feed", queue_max=2_000)
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        ear.until(tap.receive)
        for last in range(500, 10_001, 500):
            for count in range(last - 499, last + 1):
                feed.publish("book", "A", book("A", count), mono_ns())
            ear.until(lambda last=last: book("A", last) in ear.heard)  # the tap does not read meanwhile
            ear.heard.clear()
        assert reader.dropped == 0
        heard: list[Heard] = []

        def catch_up() -> int:
            heard.extend(tap.receive())
            feed.publish("book", "A", book("A"), mono_ns())
            return tap.lost

        wait_for(catch_up)
        assert len(numbers(heard)) + tap.lost == numbers(heard)[-1] - (numbers(heard)[0] - 1)


def test_tap_ignores_what_is_no_frame(tmp_path: Path) -> None:
    with wires(tmp_path) as bus, Tap(bus.run_dir, [""]) as tap:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book")
        Ear(reader, feed).until(lambda: tap.receive())
        feed.socket.send(b"book/T/\nnonsense\n{}")
        feed.publish("book", "A", book("A"), mono_ns())
        heard = wait_for(lambda: [row for row in tap.receive() if row.frame.topic == "book"])
        assert heard[0].frame.key == "A"
        assert tap.bad_frames == 1
        assert Book in {type(delivery.message) for delivery in wait_for(lambda: reader.receive(mono_ns()))}
