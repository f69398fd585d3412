"""State topics: whoever comes, whenever, soon knows the latest of every subject, and of bursts only the latest."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq

from common.bus.publisher import Publisher
from common.bus.sockets import QUEUE_MAX, SUBJECTS_MAX
from common.bus.subscriber import STALE_NS
from common.clock import NS_PER_MS, NS_PER_S
from common.effects import PeerGone, PeerUp, SubjectStale
from common.messages import Book, Heartbeat, TraderState
from tests.bus.support import Ear, activity, book, heartbeat, identity, mono_ns, trader_state, wires
from tests.waiting import wait_for

SUBJECTS = 3_000


def test_late_and_second_subscriber_get_what_is_retained(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        feed.publish("book", "A", book("A"), mono_ns())
        feed.publish("book", "B", book("B"), mono_ns())
        for _ in range(2):  # without XPUB_VERBOSE the second one would get nothing
            ear = Ear(bus.subscriber("book"), feed)
            ear.until(lambda ear=ear: len(ear.of(Book)) == 2)
            assert {message.ticker for message in ear.of(Book) if isinstance(message, Book)} == {"A", "B"}


def test_burst_is_conflated_per_subject_and_not_across_subjects(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        ear.heard.clear()
        for updates in range(1, 101):
            feed.publish("book", "A", book("A", updates), mono_ns())
            feed.publish("book", "B", book("B", updates), mono_ns())
        wait_for(lambda: reader.socket.poll(0))
        ear.until(lambda: book("B", 100) in ear.heard)
        assert book("A", 100) in ear.heard
        assert len(ear.heard) < 200
        assert reader.dropped == 0


def test_state_never_overtakes_an_event_that_was_sent_before_it(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        ear = Ear(bus.subscriber("book", "activity"), feed)
        ear.until(lambda: ear.heard)
        ear.heard.clear()
        feed.publish("book", "A", book("A", 1), mono_ns())
        feed.publish("activity", "", activity(1), mono_ns())
        feed.publish("book", "A", book("A", 2), mono_ns())
        ear.until(lambda: book("A", 2) in ear.heard)
        assert ear.heard.index(activity(1)) < ear.heard.index(book("A", 2))


def test_message_sent_again_is_not_delivered_again(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        feed.publish("book", "A", book("A"), mono_ns())
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.of(Book))
        feed.tend(mono_ns() + NS_PER_S)  # as if a second had passed
        feed.publish("book", "B", book("B"), mono_ns())
        ear.until(lambda: book("B") in ear.heard)
        assert ear.of(Book) == [book("A"), book("B")]


@pytest.mark.parametrize("subjects", [1, 13, 14, 40, SUBJECTS])
def test_every_subject_is_sent_again_within_a_second_and_never_in_a_burst(tmp_path: Path, subjects: int) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        start_ns = mono_ns()
        for number in range(subjects):
            feed.publish("book", f"K{number}", book(f"K{number}"), start_ns)
        sent_ns = dict.fromkeys(feed.retained, start_ns)
        worst_ns = largest = 0
        for tick in range(1, 60):
            now_ns = start_ns + tick * 55 * NS_PER_MS  # a loop that is a little late
            before = dict(sent_ns)
            feed.tend(now_ns)
            for name, at_ns in feed.retained.items():
                if at_ns != before[name]:
                    worst_ns = max(worst_ns, at_ns - before[name])
                    sent_ns[name] = at_ns
            largest = max(largest, sum(sent_ns[name] != before[name] for name in sent_ns))
        assert worst_ns <= NS_PER_S
        assert min(sent_ns.values()) > now_ns - NS_PER_S
        assert largest < max(50, subjects / 8)


def test_three_thousand_subjects_are_current_soon_after_a_reader_restart(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        for number in range(SUBJECTS):
            feed.publish("book", f"K{number}", book(f"K{number}"), mono_ns())
        for _ in range(2):
            reader = bus.subscriber("book")
            ear = Ear(reader, feed)
            started_ns = mono_ns()
            ear.until(lambda ear=ear: len(ear.of(Book)) >= SUBJECTS)
            assert mono_ns() - started_ns < 10 * NS_PER_S  # the bench reports the real figure, far below a second
            assert len({message.ticker for message in ear.of(Book) if isinstance(message, Book)}) == SUBJECTS
            bus.close(reader)


def test_queues_hold_more_than_four_times_all_subjects(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book")
        assert feed.socket.get(zmq.SNDHWM) == reader.socket.get(zmq.RCVHWM) == QUEUE_MAX > 4 * SUBJECTS_MAX
        assert SUBJECTS_MAX > SUBJECTS


def test_loss_at_a_full_queue_is_counted_and_the_state_becomes_current(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed", queue_max=10)
        reader = bus.subscriber("book", queue_max=10)
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        sent = 5_000  # more than both queues and the socket's buffers hold
        for updates in range(1, sent + 1):
            feed.publish("book", "A", book("A", updates), mono_ns())
        ear.until(lambda: book("A", sent) in ear.heard)
        assert reader.dropped > 0


def test_silent_subject_is_stale_and_its_next_message_counts_even_if_old(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        feed.publish("book", "A", book("A"), mono_ns())
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.of(Book))
        later_ns = mono_ns() + STALE_NS + NS_PER_S
        stale = [delivery.message for delivery in reader.receive(later_ns)]
        assert SubjectStale(topic="book", key="A") in stale
        assert not any(isinstance(news, SubjectStale) and news.topic == "heartbeat" for news in stale)
        ear.heard.clear()
        feed.tend(mono_ns() + NS_PER_S)
        ear.until(lambda: ear.of(Book))
        assert ear.of(Book) == [book("A")]


def test_retired_subject_is_no_longer_sent(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        feed.publish("book", "A", book("A"), mono_ns())
        feed.publish("book", "B", book("B"), mono_ns())
        feed.retire("book", "A")
        ear = Ear(bus.subscriber("book"), feed)
        ear.until(lambda: ear.of(Book))
        assert ear.of(Book) == [book("B")]


def test_new_life_is_heard_although_its_sequence_begins_anew(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        first = bus.publisher("feed", epoch=1)
        for updates in range(1, 6):
            first.publish("book", "A", book("A", updates), mono_ns())
        ear = Ear(bus.subscriber("book"), first)
        ear.until(lambda: book("A", 5) in ear.heard)
        bus.close(first)
        second = bus.publisher("feed", epoch=2)
        second.publish("book", "A", book("A", 6), mono_ns())
        ear.publishers = [second]
        ear.until(lambda: book("A", 6) in ear.heard)
        lives = [news for news in ear.heard if isinstance(news, PeerUp | PeerGone)]
        assert [type(news).__name__ for news in lives] == ["PeerUp", "PeerGone", "PeerUp"]


def _restamped(publisher: Publisher, epoch: int) -> None:
    publisher.identity = identity("feed", epoch)


def test_earlier_life_is_not_listened_to_once_a_later_one_spoke(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed", epoch=2)
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.heard)
        _restamped(feed, 1)
        feed.publish("book", "A", book("A", 1), mono_ns())
        _restamped(feed, 2)
        feed.publish("book", "A", book("A", 2), mono_ns())
        ear.until(lambda: ear.of(Book))
        assert ear.of(Book) == [book("A", 2)]
        assert reader.outdated >= 1


def test_closed_connection_and_silence_are_both_news_of_a_peer(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        reader = bus.subscriber("book")
        ear = Ear(reader, feed)
        ear.until(lambda: ear.of(Heartbeat))
        silent = [delivery.message for delivery in reader.receive(mono_ns() + 3 * NS_PER_S)]
        assert any(isinstance(news, PeerGone) and "no heartbeat" in news.reason for news in silent)
        feed.publish("heartbeat", "feed", heartbeat(feed.identity), mono_ns() + 3 * NS_PER_S)
        ear.until(lambda: ear.heard and isinstance(ear.heard[-1], PeerUp))
        bus.close(feed)
        ear.publishers = []
        ear.until(lambda: any(isinstance(news, PeerGone) and "closed" in news.reason for news in ear.heard))


@pytest.mark.parametrize(
    ("topic", "key", "message"),
    [("position", "A", book("A")), ("book", "", book("A")), ("book", "A", heartbeat(identity("feed")))],
)
def test_publishing_what_the_registry_forbids_fails_here_not_at_the_reader(
    tmp_path: Path, topic: str, key: str, message: Book | Heartbeat
) -> None:
    with wires(tmp_path) as bus:
        feed = bus.publisher("feed")
        with pytest.raises(AssertionError):
            feed.publish(topic, key, message, mono_ns())


def test_reader_filters_by_topic_not_by_beginning_of_its_name(tmp_path: Path) -> None:
    with wires(tmp_path) as bus:
        coordinator = bus.publisher("coordinator")
        reader = bus.subscriber("trader_state", processes=("coordinator",))
        ear = Ear(reader, coordinator)
        ear.until(lambda: ear.heard)
        coordinator.echo("trader_stateful", "x", book("A"), mono_ns(), "")
        coordinator.publish("trader_state", "", trader_state(), mono_ns())
        ear.until(lambda: ear.of(TraderState))
        assert reader.bad_frames == 0
