"""Requests: to one owner, answered once, never executed late or twice, and never lost without a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from common.bus import frames
from common.bus.frames import RequestHeader
from common.bus.requester import Door, Outcome, Requester
from common.bus.responder import REMEMBERED_MAX, Responder
from common.bus.run_dir import RunDir
from common.bus.sockets import Context
from common.clock import NS_PER_S
from common.effects import Answered, Ask, Asked, Unanswered
from common.messages import ActionReply, Cancel, Done, GroupReset, Halt, Request, SyncNow
from common.messages import Outcome as Ending
from tests.bus.support import Lines, identity, mono_ns
from tests.waiting import wait_for


class Pair:
    """The coordinator's requester and execution's responder."""

    def __init__(self, root: Path) -> None:
        self.run_dir = RunDir(root / "r")
        self.run_dir.prepare()
        self.context: Context = Context()
        self.lines = Lines()
        self.open: list[Requester | Responder] = []
        self.raw: list[zmq.Socket[bytes]] = []

    def requester(self, process: str = "coordinator", epoch: int = 1) -> Requester:
        """Connect a process that asks execution."""
        doors: list[tuple[str, Door]] = [("execution", "main"), ("execution", "control")]
        requester = Requester(self.context, identity(process, epoch), doors, self.run_dir.endpoint, self.lines.log)
        self.open.append(requester)
        return requester

    def responder(self, epoch: int = 1) -> Responder:
        """Bind execution's doors."""
        endpoints: dict[Door, str] = {
            "main": self.run_dir.endpoint("execution", "main"),
            "control": self.run_dir.endpoint("execution", "control"),
        }
        responder = Responder(self.context, identity("execution", epoch), endpoints, self.lines.log)
        self.open.append(responder)
        return responder

    def close(self, part: Requester | Responder) -> None:
        """Close one."""
        self.open.remove(part)
        part.close()


@contextmanager
def pair(root: Path) -> Iterator[Pair]:
    """Yield a pair and close what is open of it."""
    found = Pair(root)
    try:
        yield found
    finally:
        for part in list(found.open):
            found.close(part)
        for socket in found.raw:  # one that a failed test left open would hold `term` for ever
            socket.close()
        found.context.term()


def question(request_id: str = "1", request: Request | None = None, timeout_s: float = 30.0) -> Ask:
    """Return a request of the coordinator."""
    asked = request or GroupReset()
    door: Door = "control" if isinstance(asked, Cancel | Halt) else "main"
    return Ask(
        request_id=request_id, owner="execution", request=asked, door=door, timeout_ns=round(timeout_s * NS_PER_S)
    )


def send(requester: Requester, ask: Ask) -> None:
    """Send a request as soon as the connection is there."""
    wait_for(lambda: requester.ask(ask, mono_ns()) is None)


def receive(responder: Responder, door: Door = "main") -> Asked:
    """Return the next request at a door."""
    return wait_for(lambda: responder.receive(door, mono_ns()))[0]


def outcome(requester: Requester) -> Outcome:
    """Return what came of a request."""
    return wait_for(lambda: requester.receive(mono_ns()))[0]


def raw_dealer(found: Pair, door: Door = "main") -> zmq.Socket[bytes]:
    """Connect a bare socket to a door."""
    dealer: zmq.Socket[bytes] = found.context.socket(zmq.DEALER)
    dealer.set(zmq.LINGER, 0)
    dealer.set(zmq.RCVTIMEO, 20_000)  # a reply that never comes fails the test and does not hold it
    dealer.connect(found.run_dir.endpoint("execution", door))
    found.raw.append(dealer)
    return dealer


def header(request_id: str, expires_ns: int | None = None, epoch: int = 1) -> bytes:
    """Return the header line of a request of the coordinator."""
    found = frames.encode_json(
        RequestHeader(
            sender="coordinator", session="1-session", epoch=epoch, request_id=request_id, sent_ns=1,
            expires_ns=mono_ns() + NS_PER_S if expires_ns is None else expires_ns,
        )
    )  # fmt: skip
    return found + b"\n"


def test_request_is_delivered_and_its_reply_comes_back(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        send(requester, question("r1"))
        asked = receive(responder)
        assert (asked.sender, asked.door, asked.request) == ("coordinator", "main", GroupReset())
        responder.answer(asked.token, Done(success=True), mono_ns())
        assert outcome(requester).news == Answered(request_id="r1", reply=Done(success=True))
        assert requester.waiting == 0
        assert requester.due_ns() is None


def test_without_a_connection_the_answer_is_at_once_and_nothing_is_delivered_later(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        requester = found.requester()
        refused = requester.ask(question("r1"), mono_ns())
        assert refused is not None
        assert isinstance(refused.news, Unanswered)
        assert not refused.news.maybe_delivered
        responder = found.responder()  # without ZMQ_IMMEDIATE it would now receive yesterday's order
        send(requester, question("r2"))
        assert receive(responder).token.endswith(":r2")


def test_owner_that_dies_with_a_request_may_have_acted_on_it(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        send(requester, question("r1"))
        receive(responder)
        found.close(responder)
        news = outcome(requester).news
        assert isinstance(news, Unanswered)
        assert news.maybe_delivered
        assert "closed" in news.reason


def test_reply_that_came_before_the_connection_closed_counts(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        send(requester, question("r1"))
        asked = receive(responder)
        responder.answer(asked.token, Done(success=True), mono_ns())
        wait_for(lambda: requester.sockets[0].poll(0))
        found.close(responder)
        wait_for(lambda: requester.sockets[1].poll(0))
        assert isinstance(outcome(requester).news, Answered)
        assert requester.receive(mono_ns()) == []


def test_owner_that_does_not_answer_in_time_may_have_acted_and_its_late_reply_is_dropped(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        send(requester, question("r1", timeout_s=10))
        asked = receive(responder)
        [late] = requester.receive(mono_ns() + 11 * NS_PER_S)
        assert isinstance(late.news, Unanswered)
        assert late.news.maybe_delivered
        responder.answer(asked.token, Done(success=True), mono_ns())
        wait_for(lambda: requester.receive(mono_ns()) or requester.late)
        assert requester.late == 1


def test_expired_request_is_not_delivered(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder = found.responder()
        dealer = raw_dealer(found)
        dealer.send(header("old", expires_ns=mono_ns() - 1) + frames.encode_body(GroupReset()))
        dealer.send(header("new") + frames.encode_body(GroupReset()))
        assert receive(responder).token.endswith(":new")
        assert responder.expired == 1
        dealer.close()


def test_repeated_request_is_answered_from_memory_and_not_delivered_again(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder = found.responder()
        dealer = raw_dealer(found)
        request = header("r1") + frames.encode_body(GroupReset())
        dealer.send(request)
        asked = receive(responder)
        dealer.send(request)  # while it is being worked on
        wait_for(lambda: responder.receive("main", mono_ns()) or responder.repeated)
        responder.answer(asked.token, Done(success=True, detail="once"), mono_ns())
        dealer.send(request)
        wait_for(lambda: responder.receive("main", mono_ns()) or responder.repeated == 2)
        replies = [frames.decode_reply(frames.split_request(dealer.recv())[1]) for _ in range(2)]
        assert replies == [Done(success=True, detail="once")] * 2
        assert responder.unanswered == 0
        dealer.close()


def test_same_request_id_of_another_life_of_the_sender_is_another_request(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder = found.responder()
        first = found.requester(epoch=1)
        send(first, question("1"))
        responder.answer(receive(responder).token, Done(success=True), mono_ns())
        second = found.requester(epoch=2)
        send(second, question("1"))
        assert receive(responder).token == "coordinator:2-session:1"


def test_request_of_an_earlier_life_of_the_sender_is_refused(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder = found.responder()
        newer, older = found.requester(epoch=5), found.requester(epoch=4)
        send(newer, question("1"))
        receive(responder)
        send(older, question("1"))
        wait_for(lambda: responder.receive("main", mono_ns()) or responder.refused)
        assert responder.refused == 1


def test_request_that_is_not_the_senders_or_not_for_this_door_is_refused(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder = found.responder()
        main, control = raw_dealer(found), raw_dealer(found, "control")
        main.send(header("1") + frames.encode_body(SyncNow(reason="not execution's")))
        main.send(header("2") + frames.encode_body(Halt(reason="wrong door")))
        control.send(header("3") + frames.encode_body(GroupReset()))
        wait_for(
            lambda: (
                [*responder.receive("main", mono_ns()), *responder.receive("control", mono_ns())]
                or responder.refused == 3
            )
        )
        assert responder.refused == 3
        main.close()
        control.close()


def test_malformed_requests_and_replies_are_counted_and_harm_nothing(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        dealer = raw_dealer(found)
        for frame in (b"", b"{}\n{}", header("1") + b"\xff", header("1")):
            dealer.send(frame)
        dealer.send_multipart([header("1"), b"{}"])
        wait_for(lambda: responder.receive("main", mono_ns()) or responder.bad_frames == 5)
        send(requester, question("r1"))
        asked = receive(responder)
        responder.answer(asked.token, ActionReply(outcome=Ending.DONE), mono_ns())  # the wrong type
        wait_for(lambda: requester.receive(mono_ns()) or requester.bad_frames)
        assert requester.waiting == 1
        assert [line["door"] for line in found.lines.of("bad_request")] == ["main"] * 5
        (bad_reply,) = found.lines.of("bad_reply")
        assert bad_reply["owner"] == "execution"
        assert all(line["error"] for line in (bad_reply, *found.lines.of("bad_request")))
        dealer.close()


def test_control_door_does_not_queue_behind_the_main_one(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        for number in range(300):
            send(requester, question(f"r{number}"))
        send(requester, question("cancel", Cancel(reason="now")))
        wait_for(lambda: responder.doors["control"].poll(0))
        assert receive(responder, "control").request == Cancel(reason="now")


def test_memory_of_requests_is_bounded_and_forgets_answered_ones_first(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder = found.responder()
        dealer = raw_dealer(found)
        tokens: list[str] = []

        def take() -> int:
            for asked in responder.receive("main", mono_ns()):
                tokens.append(asked.token)
                responder.answer(asked.token, Done(success=True), mono_ns())
            while dealer.poll(0):
                dealer.recv()
            return len(tokens)

        body = frames.encode_body(GroupReset())
        for start in range(0, REMEMBERED_MAX + 500, 100):
            for number in range(start, start + 100):
                dealer.send(header(f"n{number}") + body)
            wait_for(lambda start=start: take() == start + 100)
        dealer.send(header("n0") + body)  # forgotten: delivered again; what must not be is the journal's
        wait_for(lambda: take() == start + 101)
        dealer.close()


def test_reply_to_a_sender_that_is_gone_or_to_an_unknown_token_is_counted(tmp_path: Path) -> None:
    with pair(tmp_path) as found:
        responder, requester = found.responder(), found.requester()
        send(requester, question("r1"))
        asked = receive(responder)
        found.close(requester)

        def undeliverable() -> bool:
            responder.answer(f"{asked.token}-unknown", Done(success=True), mono_ns())
            return responder.undeliverable > 0

        assert undeliverable()
        responder.answer(asked.token, Done(success=True), mono_ns())  # must not raise
