"""Doors: all sockets of one process, made from its rows in the registry.

It binds the publisher and the two request doors, and connects to every other process on the bus: all hear every
heartbeat. Must be opened only by the holder of the role's lock.
"""

from __future__ import annotations

import zmq

from common.bus.epochs import Epochs
from common.bus.publisher import Identity, Publisher
from common.bus.repairer import Repairer
from common.bus.requester import Door, Requester
from common.bus.responder import Responder
from common.bus.run_dir import RunDir
from common.bus.sockets import Context, Socket
from common.bus.subscriber import HEARTBEAT, Subscriber
from common.clock import Now
from common.logs import Log
from common.registry import PROCESSES, REQUESTS, TOPICS

_EVENTS_SINCE = "EventsSince"


def doors_asked(process: str) -> list[tuple[str, Door]]:
    """Return whom a process may ask at which door: its requests, and the owners of the events it reads."""
    asked: dict[tuple[str, Door], None] = {}
    for name, row in REQUESTS.items():
        if process in row.senders and name != _EVENTS_SINCE:
            asked.update({(owner, row.door): None for owner in row.owners if owner != process})
    for topic in PROCESSES[process].reads:
        if TOPICS[topic].kind == "event":
            asked.update({(owner, "main"): None for owner in TOPICS[topic].owners if owner != process})
    return list(asked)


class Doors:
    """The open sockets of one process."""

    def __init__(self, run_dir: RunDir, identity: Identity, now: Now, log: Log) -> None:
        name = identity.process
        others = [row.name for row in PROCESSES.values() if row.on_bus and row.name != name]
        self._context: Context = zmq.Context()
        epochs = Epochs()
        self.publisher = Publisher(self._context, run_dir.endpoint(name, "pub"), identity)
        self.responder = Responder(
            self._context,
            identity,
            {"control": run_dir.endpoint(name, "control"), "main": run_dir.endpoint(name, "main")},
            log,
            epochs,
        )
        for door in ("pub", "control", "main"):
            run_dir.check_socket(name, door)
        self.requester = Requester(self._context, identity, doors_asked(name), run_dir.endpoint, log, epochs)
        self.subscriber = Subscriber(
            self._context,
            (HEARTBEAT, *PROCESSES[name].reads),
            {other: run_dir.endpoint(other, "pub") for other in others},
            now,
            log,
            epochs=epochs,
        )
        self.repairer = Repairer(self.subscriber, self.requester)
        self._poller = zmq.Poller()
        for socket in self.sockets:
            self._poller.register(socket, zmq.POLLIN)

    @property
    def sockets(self) -> list[Socket]:
        """Return all sockets that may bring something."""
        return [
            *self.responder.doors.values(),
            *self.requester.sockets,
            self.subscriber.socket,
            self.subscriber.monitor.socket,
            self.publisher.socket,
        ]

    def wait(self, timeout_ms: int) -> dict[Socket, int]:
        """Return the sockets that have something, as soon as there is one or time is up."""
        return dict(self._poller.poll(timeout_ms))

    def watch(self, other: int | Socket) -> None:
        """End `wait` also when this file descriptor, or socket of somebody else, becomes readable."""
        self._poller.register(other, zmq.POLLIN)

    def counters(self) -> dict[str, int]:
        """Return what the heartbeat tells of the sockets."""
        subscriber, requester, responder = self.subscriber, self.requester, self.responder
        return {
            "bus_frames_bad": subscriber.bad_frames + requester.bad_frames + responder.bad_frames,
            "bus_frames_dropped": subscriber.dropped,
            "bus_frames_outdated": subscriber.outdated,
            "bus_events_repaired": self.repairer.repaired,
            "bus_events_lost": subscriber.events_lost,
            "bus_published": self.publisher.sent,
            "bus_requests_refused": responder.refused,
            "bus_requests_expired": responder.expired,
            "bus_requests_repeated": responder.repeated,
            "bus_replies_late": requester.late,
            "bus_replies_undeliverable": responder.undeliverable,
        }

    def queued(self) -> dict[str, int]:
        """Return what waits here."""
        return {"asked": self.requester.waiting, "to_answer": self.responder.unanswered}

    def close(self) -> None:
        """Close all sockets."""
        for part in (self.subscriber, self.requester, self.responder, self.publisher):
            part.close()
        self._context.term()
