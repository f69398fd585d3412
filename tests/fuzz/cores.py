"""The cores that hear the exchange: a bad frame or answer changes no book, no ledger and no order, and is counted."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from common.clock import NS_PER_S, Now
from common.effects import Drained, Effect, Log, Publish, RestCall, RestReply, StreamFrame, StreamReset
from common.errors import WireError
from common.kalshi.parse import parse_frame
from common.messages import Account, Book, Error, OrderState, Reconciliation
from common.trading.books_of_record import BooksOfRecord
from common.units import PRICE_ONE_E4
from processes.feed import Feed
from processes.tracking import Tracking
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import REFUSED, TAKEN, Attempt, Target
from tests.fuzz.traffic import play
from tests.processes.execution_stage import ExecutionStage, ack, book, cancel_ack
from tests.processes.kit import Actor, Stage

Heard = Callable[[Any, bytes, Now], list[Effect]]


def is_unreadable(data: bytes) -> bool:
    """Say whether the parser refuses a frame."""
    try:
        parse_frame(data)
    except WireError:
        return True
    return False


def frame_of(core: Feed | Tracking, stream: str, data: bytes, now: Now) -> StreamFrame:
    """Return a frame as the shell would deliver it on the core's connection."""
    return StreamFrame(
        stream=stream, connection=core.connection, data=data, received_mono_ns=now.mono_ns, received_wall_ns=now.wall_ns
    )


# --- feed ---


def books_of(feed: Feed) -> dict[str, tuple[Any, Any]]:
    """Return the content of every book."""
    return {ticker: (kept.book.bids(), kept.book.asks()) for ticker, kept in feed.keeper.books.items()}


def check_book(said: Book) -> None:
    """Hold a published book to what may be traded on."""
    prices = [price for price, _ in (*said.bids, *said.asks)]
    assert all(0 < price < PRICE_ONE_E4 for price in prices), said
    assert all(qty > 0 for _, qty in (*said.bids, *said.asks)), said
    assert list(said.bids) == sorted(said.bids, reverse=True)
    assert list(said.asks) == sorted(said.asks)
    if said.fresh and said.bids and said.asks:
        assert said.bids[0][0] < said.asks[0][0], said


def _feed() -> Attempt:
    played = play()
    now, seeds = played.stage.now, [json.loads(frame) for frame in played.public]
    original = played.feed.core

    def attempt(random: Random) -> str:
        core: Any = copy.deepcopy(original)
        data = mutate_json(random, random.choice(seeds))
        before, bad = books_of(core), core.counters()["bad_frames"]
        effects = core.update(frame_of(core, "market", data, now), now)
        if not is_unreadable(data):
            effects += core.update(Drained(), now)
            for effect in effects:
                if isinstance(effect, Publish) and isinstance(effect.message, Book):
                    check_book(effect.message)
            return TAKEN
        assert core.counters()["bad_frames"] == bad + 1
        (reset,) = effects
        assert isinstance(reset, StreamReset)
        assert "unreadable" in reset.reason
        assert books_of(core) == before
        assert all(kept.book.is_stale for kept in core.keeper.books.values())
        return REFUSED

    return attempt


# --- tracking ---


def ledger_of(books: BooksOfRecord) -> object:
    """Return everything that tracking knows about money."""
    return msgspec.json.encode((books.ledger.state, books.filled_e2, books.client_ids, list(books.waiting)))


def _tracking() -> Attempt:
    played = play()
    now, seeds = played.stage.now, [json.loads(frame) for frame in played.private]
    original = played.tracking.core

    def attempt(random: Random) -> str:
        core: Any = copy.deepcopy(original)
        data = mutate_json(random, random.choice(seeds))
        before, bad = ledger_of(core.books), core.counters()["bad_frames"]
        effects = core.update(frame_of(core, "private", data, now), now)
        if not is_unreadable(data):
            core.update(Drained(), now)
            return TAKEN
        assert core.counters()["bad_frames"] == bad + 1
        (reset,) = effects
        assert isinstance(reset, StreamReset)
        assert ledger_of(core.books) == before
        assert core.connection == 0, "what follows on this connection is not believed"
        return REFUSED

    return attempt


# --- reads ---


def unreadable_version(random: Random, body: Any, parse: Callable[[bytes], object]) -> bytes | None:
    """Return a body changed so that its reader refuses it, None if chance finds none."""
    for _ in range(20):
        data = mutate_json(random, body)
        try:
            parse(data)
        except WireError:
            return data
    return None


class Spoiler:
    """A fault that answers some paths with bodies that cannot be read."""

    def __init__(self, stage: Stage, random: Random, chance: float) -> None:
        self.stage = stage
        self.random = random
        self.chance = chance
        self.spoilt: list[str] = []

    def __call__(self, actor: Actor, call: RestCall) -> RestReply | None:
        reply = self.stage.answer(call)
        parse = _parser_of(actor, call)
        if self.random.random() >= self.chance or not 200 <= reply.status < 300:
            return reply
        data = unreadable_version(self.random, json.loads(reply.body), parse)
        if data is None:
            return reply
        self.spoilt.append(f"{actor.name} {call.path}")
        return msgspec.structs.replace(reply, body=data)


def _parser_of(actor: Actor, call: RestCall) -> Callable[[bytes], object]:
    """Return how the core that made a call will read its answer."""
    core: Any = actor.core
    queue = core.reads if isinstance(core, Feed) else core.readings.queue
    return parser_of(queue._caller, call)


def parser_of(caller: Any, call: RestCall) -> Callable[[bytes], object]:
    """Return how the answer to a call that is under way will be read: known to nobody but who asked."""
    parse: Callable[[bytes], object] = caller._under_way[call.call_id][0].parse
    return parse


def _reads() -> Attempt:
    """Spoil a third of what feed and sync read for a while; then all must be as if nothing had been."""

    def attempt(random: Random) -> str:
        played = play()
        stage, tracking = played.stage, played.tracking
        before = ledger_of(tracking.core.books)  # type: ignore[attr-defined]
        wrong = {name: stage.actors[name].core.counters()["wrong_answers"] for name in ("feed", "sync")}
        spoiler = Spoiler(stage, random, random.choice((0.1, 0.3, 0.9)))
        stage.faults.append(spoiler)
        stage.pass_time(25)
        stage.faults.clear()
        stage.pass_time(0.1)  # for the answers under way
        assert ledger_of(tracking.core.books) == before  # type: ignore[attr-defined]
        for name, count in wrong.items():
            actor = stage.actors[name]
            spoilt = sum(1 for path in spoiler.spoilt if path.startswith(name))
            assert actor.core.counters()["wrong_answers"] - count == spoilt
            logged = [log.fields["call"] for log in actor.logs if log.event == "wrong_answer"]
            assert len(logged) == spoilt
        rounds = len(_complete(played.sync))
        stage.until(lambda: len(_complete(played.sync)) > rounds)
        assert tracking.last(Account).cash_usd_e6 == stage.cash_e6()
        return REFUSED if spoiler.spoilt else TAKEN

    return attempt


def _complete(sync: Actor) -> list[Reconciliation]:
    return [round_ for round_ in sync.said(Reconciliation) if round_.complete]


# --- answers to writes ---


def _writes() -> Attempt:
    """Answer a create, and then a cancel, with bodies that cannot be read: the order stays, its end is not invented."""
    original = ExecutionStage()
    original.open_with_group()
    original.place()

    def attempt(random: Random) -> str:
        stage = copy.deepcopy(original)
        (order,) = stage.core.keeper.live.values()
        call = stage.calls("/portfolio/events/orders")[-1]
        parse = parser_of(stage.core.writes.caller, call)
        data = mutate_json(random, ack(order.client_order_id))
        refused = _refuses(parse, data)
        effects = _answer(stage, call, data)
        if not refused:
            stage.live_on(1)
            return TAKEN
        assert order.state is OrderState.UNKNOWN
        _check_said(stage, effects)
        return REFUSED

    return attempt


def _cancels() -> Attempt:
    original = ExecutionStage()
    original.open_with_group()
    original.rest_one()
    original.cancel()

    def attempt(random: Random) -> str:
        stage = copy.deepcopy(original)
        (order,) = stage.core.keeper.live.values()
        call = stage.cancels()[-1]
        parse = parser_of(stage.core.writes.caller, call)
        data = mutate_json(random, cancel_ack(order.client_order_id))
        refused = _refuses(parse, data)
        effects = _answer(stage, call, data)
        if not refused:
            stage.wait(1, book())
            return TAKEN
        assert order.state is OrderState.UNKNOWN
        _check_said(stage, effects)
        return REFUSED

    return attempt


def _refuses(parse: Callable[[bytes], object], data: bytes) -> bool:
    try:
        parse(data)
    except WireError:
        return True
    return False


def _answer(stage: ExecutionStage, call: RestCall, data: bytes) -> list[Effect]:
    stage.mono_ns += NS_PER_S // 50
    return stage.give(
        RestReply(
            call_id=call.call_id, status=201, body=data, sent_mono_ns=stage.mono_ns - 1, received_mono_ns=stage.mono_ns,
            signed_wall_ns=stage.now.wall_ns,
        )
    )  # fmt: skip


def _check_said(stage: ExecutionStage, effects: list[Effect]) -> None:
    """An unreadable answer is counted, logged and told."""
    assert stage.core.counters()["wrong_answers"] == 1
    assert [effect.event for effect in effects if isinstance(effect, Log)] == ["wrong_answer"]
    assert len(stage.published(Error)) == 1


TARGETS = (
    Target("feed's frames", _feed, 100),
    Target("tracking's frames", _tracking, 100),
    Target("reads of feed and sync", _reads, 4),
    Target("answers to creates", _writes, 40),
    Target("answers to cancels", _cancels, 40),
)
