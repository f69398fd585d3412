"""Peers: who lives, who is gone, and that the two news always alternate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.bus.peers import SILENCE_NS, Peers
from common.effects import PeerGone, PeerUp


def test_first_heartbeat_brings_a_process_up_and_later_ones_are_no_news() -> None:
    peers = Peers()
    assert peers.heard("feed", "s", 1, 1) == [PeerUp(process="feed", session="s")]
    assert peers.heard("feed", "s", 2, 2) == []


def test_restart_that_nobody_saw_is_gone_and_up() -> None:
    peers = Peers()
    peers.heard("feed", "a", 1, 1)
    assert [type(news) for news in peers.heard("feed", "b", 2, 2)] == [PeerGone, PeerUp]


def test_heartbeat_sent_before_the_connection_closed_does_not_bring_it_back() -> None:
    peers = Peers()
    peers.heard("feed", "a", 1, 1)
    assert len(peers.disconnected("feed", 10)) == 1
    assert peers.heard("feed", "a", 9, 11) == []
    assert peers.heard("feed", "a", 12, 13) == [PeerUp(process="feed", session="a")]


def test_silence_is_noticed_once() -> None:
    peers = Peers()
    peers.heard("feed", "a", 1, 1)
    assert peers.silent(SILENCE_NS) == []
    assert peers.silent(SILENCE_NS + 2) == [PeerGone(process="feed", reason="no heartbeat")]
    assert peers.silent(SILENCE_NS + 3) == []
    assert peers.disconnected("feed", SILENCE_NS + 4) == []


@given(st.lists(st.tuples(st.sampled_from(["heard a", "heard b", "closed", "silent"]), st.integers(1, SILENCE_NS))))
def test_news_of_one_process_alternate_whatever_happens(events: list[tuple[str, int]]) -> None:
    peers, now_ns, news = Peers(), 0, []
    for event, pause_ns in events:
        now_ns += pause_ns
        if event == "closed":
            news += peers.disconnected("feed", now_ns)
        elif event == "silent":
            news += peers.silent(now_ns)
        else:
            news += peers.heard("feed", event[-1], now_ns, now_ns)
    assert [type(item) for item in news] == [PeerUp if place % 2 == 0 else PeerGone for place in range(len(news))]
