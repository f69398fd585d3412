"""Peers: which of the other processes live, from their heartbeats and from ZeroMQ's own connection events.

A closed connection is known at once; a process that is stuck or stopped is noticed by its silence. `PeerGone` and
`PeerUp` of one process always alternate. Pure; times are given.
"""

from __future__ import annotations

from common.clock import NS_PER_S
from common.effects import Input, PeerGone, PeerUp

SILENCE_NS = 2 * NS_PER_S


class _Peer:
    """What is known of one process."""

    __slots__ = ("gone_ns", "heard_ns", "is_up", "session")

    def __init__(self) -> None:
        self.session = ""
        self.is_up = False
        self.heard_ns = 0
        self.gone_ns = 0  # only a heartbeat sent later proves a return


class Peers:
    """Follows the lives of all other processes."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def is_up(self, process: str) -> bool:
        """Say whether a process can be heard."""
        peer = self._peers.get(process)
        return peer is not None and peer.is_up

    def heard(self, process: str, session: str, sent_ns: int, mono_ns: int) -> list[Input]:
        """Take a heartbeat of a process's present life; return what is new."""
        peer = self._peers.setdefault(process, _Peer())
        if session == peer.session and not peer.is_up and sent_ns <= peer.gone_ns:
            return []
        news: list[Input] = []
        if session != peer.session and peer.is_up:
            news.append(PeerGone(process=process, reason="restarted"))
            peer.is_up = False
        peer.session, peer.heard_ns = session, mono_ns
        if not peer.is_up:
            peer.is_up = True
            news.append(PeerUp(process=process, session=session))
        return news

    def disconnected(self, process: str, mono_ns: int) -> list[Input]:
        """Take the news that the connection to a process closed."""
        return self._gone(process, "connection closed", mono_ns)

    def silent(self, mono_ns: int) -> list[Input]:
        """Return who has been silent for too long; to be called when all that had arrived was heard."""
        return [
            news
            for process, peer in self._peers.items()
            if peer.is_up and mono_ns - peer.heard_ns > SILENCE_NS
            for news in self._gone(process, "no heartbeat", mono_ns)
        ]

    def _gone(self, process: str, reason: str, mono_ns: int) -> list[Input]:
        peer = self._peers.get(process)
        if peer is None or not peer.is_up:
            return []
        peer.is_up = False
        peer.gone_ns = mono_ns
        return [PeerGone(process=process, reason=reason)]
