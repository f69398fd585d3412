"""Frames: what is written can be read, and whatever else comes does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from common.bus import frames
from common.bus.frames import Header
from common.effects import EventsLost, SubjectStale
from common.errors import FrameError
from common.messages import Book, Events
from common.registry import TOPICS
from tests.bus.support import Ear, book, fill, mono_ns, trade, wires

HEADER = Header(publisher="feed", session="1-session", epoch=1, seq=7, sent_ns=5)


def test_frame_round_trips_with_topic_and_key() -> None:
    lines = [
        frames.encode_subject("book", "KXBTC15M-26.5"),
        frames.encode_json(HEADER),
        frames.encode_body(book("KXBTC15M-26.5")),
    ]
    frame = frames.decode_frame(frames.join(*lines))
    assert frame[:3] == ("book", "KXBTC15M-26.5", HEADER)
    assert frames.decode_message("book", frame.body) == book("KXBTC15M-26.5")


def test_subject_prefix_of_one_topic_matches_no_other_topic() -> None:
    assert frames.encode_subject("trader_state") == b"trader_state/"
    assert not frames.encode_subject("order_group", "0").startswith(frames.encode_subject("order"))


@pytest.mark.parametrize("key", ["KX/ODD", "KXÉTÉ-1", "50%", "%2F", "KX\n1"])
def test_an_odd_ticker_of_the_exchange_has_a_subject_and_comes_back_as_it_was(key: str) -> None:
    subject = frames.encode_subject("book", key)
    assert subject.count(b"/") == 2
    assert frames.decode_subject(subject) == ("book", key)


def test_body_of_another_type_than_the_topics_is_refused() -> None:
    with pytest.raises(FrameError, match="book"):
        frames.decode_message("book", frames.encode_json(HEADER))


def test_body_with_a_float_where_an_integer_is_declared_is_refused() -> None:
    body = frames.encode_body(book("T")).replace(b'"updates":1', b'"updates":1.5')
    with pytest.raises(FrameError):
        frames.decode_message("book", body)


def test_body_with_an_unknown_field_is_read() -> None:
    body = frames.encode_body(book("T"))[:-1] + b',"later":1}'
    assert frames.decode_message("book", body) == book("T")


@pytest.mark.parametrize(
    "subject", [b"", b"/", b"book", b"book//", b"book/a/b/", b"book/\xff/", b"b\nok/", b"x" * 300 + b"/"]
)
def test_malformed_subject_is_refused(subject: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode_subject(subject)


def test_header_and_body_over_their_size_are_refused() -> None:
    with pytest.raises(FrameError, match="allowed"):
        frames.decode_header(b" " * (frames.HEADER_BYTES_MAX + 1))
    with pytest.raises(FrameError, match="allowed"):
        frames.decode_message("book", b" " * (frames.BODY_BYTES_MAX + 1))


def test_every_durable_topic_has_its_number_in_the_body() -> None:
    durable = [topic for topic in TOPICS.values() if topic.durable]
    assert durable
    assert all("number" in topic.schema.__struct_fields__ for topic in durable)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
nearly_header = st.fixed_dictionaries(
    {},
    optional={name: st.integers() | st.text(max_size=5) | st.none() for name in Header.__struct_fields__},
).map(frames.msgspec.json.encode)
part = st.binary(max_size=40) | json_like.map(frames.msgspec.json.encode) | nearly_header
subject = st.sampled_from([b"book/T/", b"heartbeat/feed/", b"trade/T/", b"trader_state/"]) | st.binary(max_size=20)


@given(st.lists(part, max_size=5) | st.tuples(subject, part, part).map(list))
def test_any_bytes_are_a_frame_or_a_frame_error(parts: list[bytes]) -> None:
    try:
        frame = frames.decode_frame(frames.join(*parts))
        if frame.topic in TOPICS:
            frames.decode_message(frame.topic, frame.body)
    except FrameError:
        return


@given(part)
def test_any_bytes_are_a_request_or_a_frame_error(data: bytes) -> None:
    for decode in (
        frames.decode_request,
        frames.decode_reply,
        frames.decode_request_header,
        frames.decode_reply_header,
    ):
        try:
            decode(data)
        except FrameError:
            continue


def test_malformed_frames_deliver_nothing_and_the_next_good_one_arrives(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book", "trade")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        ear.heard.clear()
        wrong_owner = frames.encode_json(Header(publisher="sync", session="1-s", epoch=1, seq=1, sent_ns=1))
        good_header = frames.encode_json(HEADER)
        malformed = [
            [b"book/T/"],
            [b"book/T/", good_header],
            [b"book/T/", b"{}", b"{}"],
            [b"book/T/", good_header, b"\xff\xfe"],
            [b"book/U/", good_header, frames.encode_body(fill(1))],
            [b"book//", good_header, b"{}"],
            [b"book/V/", wrong_owner, frames.encode_body(book("V"))],
            [b"heartbeat/feed/", good_header, b"[" * 100_000],
            [b"trade/T/", good_header, b"{}"],
        ]
        for parts in malformed:
            feed.socket.send(frames.join(*parts))
        feed.publish("book", "W", book("W"), mono_ns())
        ear.until(lambda: ear.of(Book))
        assert ear.heard == [book("W")]
        assert reader.bad_frames == len(bus.lines.of("bad_frame")) >= len(malformed)
        assert all(line["error"] for line in bus.lines.of("bad_frame"))


def test_body_over_the_size_limit_is_dropped_and_the_connection_stays(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        feed.socket.send(frames.join(b"book/T/", frames.encode_json(HEADER), b" " * (frames.BODY_BYTES_MAX + 1)))
        feed.publish("book", "W", book("W"), mono_ns())
        ear.until(lambda: ear.of(Book))
        assert ear.of(Book) == [book("W")]
        assert reader.bad_frames == 1


def test_a_flood_of_malformed_frames_is_counted_and_fills_no_log(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        for _ in range(500):
            feed.socket.send(b"book/T/")
        ear.until(lambda: reader.bad_frames == 500)
        assert 0 < len(bus.lines.of("bad_frame")) <= 20


def raw(topic: str, seq: int, body: bytes, number: int = 0) -> bytes:
    """Return a frame of feed about T with any body."""
    header = Header(publisher="feed", session="1-session", epoch=1, seq=seq, sent_ns=1, number=number)
    return frames.join(f"{topic}/T/".encode(), frames.encode_json(header), body)


def test_state_that_cannot_be_read_is_stale_until_it_can(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed, reader = bus.publisher("feed"), bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        feed.socket.send(raw("book", 1, frames.encode_body(book("T"))))
        ear.until(lambda: ear.of(Book))
        feed.socket.send(raw("book", 2, b"{}"))
        ear.until(lambda: SubjectStale(topic="book", key="T") in ear.heard)
        feed.socket.send(raw("book", 2, b"{}"))  # sent again: counted, and nothing new to say
        ear.until(lambda: reader.bad_frames == 2)
        feed.socket.send(raw("book", 3, frames.encode_body(book("T", 3))))
        ear.until(lambda: book("T", 3) in ear.heard)
        assert ear.heard.count(SubjectStale(topic="book", key="T")) == 1


def test_event_that_cannot_be_read_is_asked_for_again_and_lost_if_that_does_not_help(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed, reader = bus.publisher("feed"), bus.subscriber("trade")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        feed.socket.send(raw("trade", 1, frames.encode_body(trade(1)), number=1))
        ear.until(lambda: trade(1) in ear.heard)
        feed.socket.send(raw("trade", 2, b"{}", number=2))
        feed.socket.send(raw("trade", 3, frames.encode_body(trade(3)), number=3))
        events = reader.events["feed", "trade"]
        ear.until(lambda: events.wants() == 1)
        assert trade(3) not in ear.heard
        assert reader.bad_frames == 1
        kept = tuple(Raw(body) for body in (b"{}", frames.encode_body(trade(3))))
        reply = Events(topic="trade", first_kept=1, events=kept, last=3)
        told = [delivery.message for delivery in reader.repair("feed", "trade", 1, "1-session", reply)]
        assert told == [EventsLost(topic="trade", first=2, last=2), trade(3)]
        assert (reader.bad_frames, reader.events_lost, events.wants()) == (2, 1, None)
