"""The ears of the bus: nobody is told anything that was not said, and the next good message is heard."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from random import Random
from typing import Any

import zmq

from common.bus import frames
from common.bus.recording import _record_of
from common.bus.requester import Door, Requester
from common.bus.responder import Responder
from common.bus.sockets import Context
from common.bus.subscriber import Subscriber
from common.bus.tap import Heard
from common.clock import NS_PER_S, Now
from common.effects import Answered, Ask, EventsLost, SubjectStale
from common.errors import FrameError
from common.log import tapes
from common.messages import ActionReply, Done, GroupReset, Outcome, Place, Pricing, Purpose, State
from common.registry import TOPICS
from tests.bus import support
from tests.bus.support import SILENT, identity
from tests.fuzz.mutation import mutate_bytes, mutate_value
from tests.fuzz.target import REFUSED, TAKEN, Attempt, Target

NOW = Now(10**12, 10**18)
PLACE = Place(
    client_order_id="t2-j-1", ticker="T", side="bid", qty_e2=100, pricing=Pricing.PASSIVE, purpose=Purpose.OPEN,
    epoch=1, state=State.READY, decided_mono_ns=1,
)  # fmt: skip

_names = itertools.count()


def published(topic: str, key: str, message: Any, seq: int = 1, number: int = 0) -> list[bytes]:
    """Return the lines of a published message of feed or tracking."""
    owner = TOPICS[topic].owners[0] if topic != "heartbeat" else "feed"
    header = frames.Header(publisher=owner, session="1-s", epoch=1, seq=seq, sent_ns=1, number=number)
    return [frames.encode_subject(topic, key), frames.encode_json(header), frames.encode_body(message)]


SAMPLES = (
    published("book", "T", support.book("T"), seq=2),
    published("trade", "T", support.trade(2), seq=2, number=2),
    published("fill", "T", support.fill(2), seq=2, number=2),
    published("trader_state", "", support.trader_state(), seq=2),
    published("heartbeat", "feed", support.heartbeat(identity("feed"), {"trade": 1}), seq=2),
)


def spoil(random: Random, lines: list[bytes]) -> bytes:
    """Return a frame with one of its lines changed, or the whole of it."""
    changed = list(lines)
    at = random.randrange(len(lines) + 1)
    if at == len(lines):
        return mutate_bytes(random, frames.join(*lines))
    try:
        changed[at] = json.dumps(mutate_value(random, json.loads(lines[at]))).encode("utf-8", "surrogatepass")
    except ValueError:
        changed[at] = mutate_bytes(random, lines[at])
    return frames.join(*changed)


def _is_bad(decode: Callable[[], object]) -> bool:
    try:
        decode()
    except FrameError as error:
        assert 0 < len(str(error)) < 12_000
        return True
    return False


def _read_published(frame: bytes) -> None:
    found = frames.decode_frame(frame)
    if found.topic in TOPICS:
        frames.decode_message(found.topic, found.body)


def _frames() -> Attempt:
    def attempt(random: Random) -> str:
        frame = spoil(random, random.choice(SAMPLES))
        bad = [_is_bad(lambda: _read_published(frame))]
        for decode in (
            frames.decode_request,
            frames.decode_reply,
            frames.decode_request_header,
            frames.decode_reply_header,
        ):
            _is_bad(lambda decode=decode: decode(frame))  # type: ignore[misc]
        return REFUSED if bad[0] else TAKEN

    return attempt


def _subscriber() -> Attempt:
    context: Context = zmq.Context.instance()

    def attempt(random: Random) -> str:
        endpoint = f"inproc://fuzz-{next(_names)}"
        socket: Any = context.socket(zmq.PUB)
        socket.set(zmq.LINGER, 0)
        socket.bind(endpoint)
        topics = ("heartbeat", "book", "trade", "fill", "trader_state")
        reader = Subscriber(context, topics, {"feed": endpoint}, NOW, SILENT)
        try:
            return _hear(random, socket, reader)
        finally:
            reader.close()
            socket.close()

    return attempt


def _hear(random: Random, socket: Any, reader: Subscriber) -> str:
    """Let a reader hear something good, something bad, and something good again."""
    socket.send(frames.join(*published("heartbeat", "feed", support.heartbeat(identity("feed"), {"trade": 0}))))
    socket.send(frames.join(*published("book", "T", support.book("T"))))
    first = reader.receive(NOW.mono_ns, may_have_closed=False)
    assert support.book("T") in [each.message for each in first]
    sample = random.choice(SAMPLES)
    frame = spoil(random, sample)
    socket.send(frame)
    told = [each.message for each in reader.receive(NOW.mono_ns, may_have_closed=False)]
    topic = frame.partition(b"/")[0].decode("ascii", "replace")
    if topic not in ("heartbeat", "book", "trade", "fill", "trader_state") or b"/" not in frame:
        assert told == []
        return REFUSED
    if not _is_bad(lambda: _read_published(frame)):
        return TAKEN
    assert reader.bad_frames == 1
    assert all(isinstance(each, SubjectStale) for each in told), told
    socket.send(frames.join(*published("book", "T", support.book("T", 7), seq=9)))
    after = [each.message for each in reader.receive(NOW.mono_ns, may_have_closed=False)]
    assert after == [support.book("T", 7)]
    assert not any(isinstance(each, EventsLost) for each in told)
    return REFUSED


def _responder() -> Attempt:
    context: Context = zmq.Context.instance()

    def attempt(random: Random) -> str:
        endpoint = f"inproc://fuzz-{next(_names)}"
        responder = Responder(context, identity("execution"), {"main": endpoint}, SILENT)
        dealer: Any = context.socket(zmq.DEALER)
        dealer.set(zmq.LINGER, 0)
        dealer.connect(endpoint)
        try:
            frame = spoil(random, _request("r1"))
            dealer.send(frame)
            asked = responder.receive("main", NOW.mono_ns)
            outcomes = (responder.bad_frames, responder.refused, responder.expired)
            assert len(asked) + sum(outcomes) == 1, "delivered, or counted once"
            dealer.send(frames.join(*_request("r2")))
            (good,) = responder.receive("main", NOW.mono_ns) or [None]
            assert good is None or good.request == PLACE
            assert good is not None or responder.refused, "an epoch that was raised shuts lower ones out"
            return TAKEN if asked else REFUSED
        finally:
            responder.close()
            dealer.close()

    return attempt


def _request(request_id: str) -> list[bytes]:
    header = frames.RequestHeader(
        sender="coordinator", session="1-s", epoch=1, request_id=request_id, sent_ns=1,
        expires_ns=NOW.mono_ns + NS_PER_S,
    )  # fmt: skip
    return [frames.encode_json(header), frames.encode_body(PLACE)]


def _requester() -> Attempt:
    context: Context = zmq.Context.instance()

    def attempt(random: Random) -> str:
        endpoint = f"inproc://fuzz-{next(_names)}"
        router: Any = context.socket(zmq.ROUTER)
        router.set(zmq.LINGER, 0)
        router.bind(endpoint)
        doors: list[tuple[str, Door]] = [("execution", "main")]
        requester = Requester(context, identity("coordinator"), doors, lambda owner, door: endpoint, SILENT)
        try:
            return _ask(random, router, requester)
        finally:
            requester.close()
            router.close()

    return attempt


def _ask(random: Random, router: Any, requester: Requester) -> str:
    """Ask, be answered badly and then well: the request ends once, by the answer that can be read."""
    ask = Ask(request_id="r1", owner="execution", request=GroupReset(), door="main", timeout_ns=NS_PER_S)
    assert requester.ask(ask, NOW.mono_ns) is None
    address, _ = router.recv_multipart()
    header = frames.ReplyHeader(owner="execution", session="1-s", epoch=1, request_id="r1", sent_ns=1)
    good = [frames.encode_json(header), frames.encode_body(Done(success=True))]
    wrong = [good[0], frames.encode_body(ActionReply(outcome=Outcome.DONE))]
    router.send_multipart([address, spoil(random, random.choice((good, good, wrong)))])
    outcomes = requester.receive(NOW.mono_ns)
    if outcomes:
        assert requester.waiting == 0
        return TAKEN
    assert requester.bad_frames + requester.late == 1
    assert requester.waiting == 1
    router.send_multipart([address, frames.join(*good)])
    (outcome,) = requester.receive(NOW.mono_ns)
    assert outcome.news == Answered(request_id="r1", reply=Done(success=True))
    return REFUSED


def _tap() -> Attempt:
    """What the tap can read goes on a tape and comes back from it."""

    def attempt(random: Random) -> str:
        frame = spoil(random, random.choice(SAMPLES))
        try:
            heard = Heard(frames.decode_frame(frame), 0)
        except FrameError:
            return REFUSED
        record = _record_of(heard, NOW)
        assert tapes.decode(tapes.encode(record)) == record
        return TAKEN

    return attempt


TARGETS = (
    Target("bus frames", _frames, 300),
    Target("subscriber", _subscriber, 120),
    Target("responder", _responder, 120),
    Target("requester", _requester, 120),
    Target("tap and tapes", _tap, 200),
)
