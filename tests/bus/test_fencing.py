"""Fencing: what an earlier life still says, in whatever form, is not believed once a later one was heard."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from common import clock
from common.bus import frames
from common.bus.epochs import Epochs
from common.bus.frames import ReplyHeader, RequestHeader, encode_body, encode_json, join
from common.bus.requester import Requester
from common.bus.responder import Responder
from common.bus.sockets import Context
from common.bus.subscriber import Subscriber
from common.effects import Answered, Ask, Unanswered
from common.errors import ExitCode
from common.messages import Done, GroupReset, Halt, Request, TraderState
from tests.bus.processes import group
from tests.bus.support import SILENT, Ear, Wires, identity, mono_ns, trader_state, wires
from tests.waiting import freeze, wait_for


def request(epoch: int, asked: Request) -> bytes:
    """Return a request of a life of the coordinator."""
    header = RequestHeader(
        sender="coordinator", session=f"{epoch}-session", epoch=epoch, request_id=str(epoch), sent_ns=1,
        expires_ns=mono_ns() + 60 * 10**9,
    )  # fmt: skip
    return join(encode_json(header), encode_body(asked))


class Doors:
    """Execution's ear and doors, which share what they know of epochs."""

    def __init__(self, found: Wires) -> None:
        self.epochs = Epochs()
        run_dir = found.run_dir
        self.responder = Responder(
            found.context, identity("execution"),
            {"main": run_dir.endpoint("execution", "main"), "control": run_dir.endpoint("execution", "control")},
            SILENT, self.epochs,
        )  # fmt: skip
        endpoints = {"coordinator": run_dir.endpoint("coordinator", "pub")}
        topics = ("heartbeat", "trader_state")
        self.subscriber = Subscriber(found.context, topics, endpoints, clock.read(), SILENT, epochs=self.epochs)

    def hear(self, context: Context, epoch: int, asked: Request) -> bool:
        """Let a life of the coordinator ask; say whether it was heard."""
        door = "control" if isinstance(asked, Halt) else "main"
        refused = self.responder.refused
        socket = context.socket(5)  # DEALER
        socket.connect(self.responder.doors[door].last_endpoint.decode().rstrip("\0"))
        socket.send(request(epoch, asked))
        try:
            heard = wait_for(lambda: self.responder.receive(door, mono_ns()) or self.responder.refused > refused)
        finally:
            socket.close(linger=0)
        return isinstance(heard, list)

    def close(self) -> None:
        """Close both."""
        self.responder.close()
        self.subscriber.close()


@pytest.mark.parametrize("asked", [GroupReset(), Halt(reason="old")], ids=["order door", "control door"])
def test_request_of_an_old_life_is_refused_once_anything_of_a_later_one_was_heard(
    tmp_path: Path, asked: Request
) -> None:
    with wires(tmp_path) as found:
        doors = Doors(found)
        try:
            assert doors.hear(found.context, 4, asked)
            coordinator = found.publisher("coordinator", epoch=5)
            ear = Ear(doors.subscriber, coordinator)
            ear.until(lambda: ear.heard)
            assert not doors.hear(found.context, 4, asked)
            assert doors.hear(found.context, 5, asked)
        finally:
            doors.close()


def test_state_of_an_old_life_is_not_heard_once_a_later_one_asked_for_something(tmp_path: Path) -> None:
    with wires(tmp_path) as found:
        doors = Doors(found)
        try:
            coordinator = found.publisher("coordinator", epoch=4)
            ear = Ear(doors.subscriber, coordinator)
            coordinator.publish("trader_state", "", trader_state(4), mono_ns())
            ear.until(lambda: ear.of(TraderState))
            assert doors.hear(found.context, 5, GroupReset())
            coordinator.publish("trader_state", "", trader_state(4), mono_ns())
            coordinator.publish("trader_state", "", trader_state(3), mono_ns())
            ear.until(lambda: doors.subscriber.outdated >= 2)
            assert ear.of(TraderState) == [trader_state(4)]
        finally:
            doors.close()


def test_reply_of_an_old_life_is_none(tmp_path: Path) -> None:
    with wires(tmp_path) as found:
        epochs = Epochs()
        router = found.context.socket(6)  # ROUTER
        router.bind(found.run_dir.endpoint("execution", "main"))
        requester = Requester(
            found.context, identity("coordinator"), [("execution", "main")], found.run_dir.endpoint, SILENT, epochs
        )
        question = Ask(request_id="1", owner="execution", request=GroupReset(), timeout_ns=60 * 10**9)
        wait_for(lambda: requester.ask(question, mono_ns()) is None)
        epochs.note("execution", 3)
        return_to, _ = router.recv_multipart()

        def answer(epoch: int) -> None:
            header = ReplyHeader(owner="execution", session=f"{epoch}-session", epoch=epoch, request_id="1", sent_ns=1)
            router.send_multipart([return_to, join(frames.encode_json(header), encode_body(Done(success=True)))])

        answer(2)
        wait_for(lambda: requester.receive(mono_ns()) or requester.late)
        assert (requester.late, requester.waiting) == (1, 1)
        answer(3)
        (outcome,) = wait_for(lambda: requester.receive(mono_ns()))
        assert isinstance(outcome.news, Answered)
        assert not isinstance(outcome.news, Unanswered)
        requester.close()
        router.close(linger=0)


def test_stopped_owner_keeps_its_role_and_its_successor_has_a_higher_epoch(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        first = toys.start("execution").ready()
        assert first.count() == 1
        freeze(first.process.pid)
        second = toys.start("execution")
        assert second.wait() == ExitCode.FAILED
        assert "already runs here" in second.log.read_text()
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.count() == 2
        freeze(first.process.pid)
        first.kill()
        third = toys.start("execution").ready()
        assert third.lines("started")[0]["session"].startswith("2-")  # a refused start raises nothing
        assert third.count() == 3
