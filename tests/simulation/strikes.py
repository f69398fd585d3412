"""Everything that is done to a town, as data: a play is a list of strikes, drawn from a seed or read from a file.

Strikes are drawn in strata: any row of seeds goes through every kind in every phase again and again, so that what is
rare by chance is not rare here.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from common.cli.replay_inputs import CORES
from common.clock import NS_PER_MS
from common.messages import Command, Halt
from common.paper import fault_catalogue as faults
from common.paper.fault_catalogue import AnyFault, kind_of
from tests.simulation.bus import READERS
from tests.simulation.phases import PHASES, Phase
from tests.simulation.scenes import CLOSES, STAYS
from tests.simulation.town import Town

ORDERS = "/portfolio/events/orders*"
READS = "/portfolio/*"
STRIKES_PER_SEED = 6


class Strike(msgspec.Struct, frozen=True, kw_only=True, tag_field="strike"):
    """Base of the strikes."""

    wait_ms: int = 0  # after the strike before
    aim: Phase | None = None  # then for this to go on, but not for ever


class Kill(Strike, frozen=True, kw_only=True, tag="kill"):
    """A process is killed, at once or after so many more of its effects."""

    process: str
    back_ms: int
    effects: int | None = None


class PowerCut(Strike, frozen=True, kw_only=True, tag="power_cut"):
    """The machine dies: every process, and what was not synced to a disk."""

    back_ms: int


class Stall(Strike, frozen=True, kw_only=True, tag="stall"):
    """A process is stopped for a while, as by SIGSTOP."""

    process: str
    for_ms: int


class Deafen(Strike, frozen=True, kw_only=True, tag="deafen"):
    """A reader is beyond its high-water mark: what one publisher says is lost for a while."""

    publisher: str
    reader: str
    for_ms: int


class ClockStep(Strike, frozen=True, kw_only=True, tag="clock_step"):
    """The machine's wall clock jumps, and jumps back later."""

    ms: int
    for_ms: int


class DiskFull(Strike, frozen=True, kw_only=True, tag="disk_full"):
    """A process cannot write its journal for a while."""

    process: str
    for_ms: int


class Operate(Strike, frozen=True, kw_only=True, tag="operate"):
    """The operator says something."""

    verb: str


class Inject(Strike, frozen=True, kw_only=True, tag="fault"):
    """The exchange misbehaves."""

    fault: AnyFault


AnyStrike = Kill | PowerCut | Stall | Deafen | ClockStep | DiskFull | Operate | Inject

PAIRS = tuple(
    dict.fromkeys(
        (owner, reader)
        for owner, topics in (
            ("feed", ("book", "market", "exchange")), ("execution", ("order", "open_orders")),
            ("tracking", ("fill", "position", "account", "account_order")), ("coordinator", ("trader_state",)),
            ("sync", ("reconciliation",)),
        )
        for topic in topics
        for reader in READERS[topic]
        if reader != "status"
    )
)  # fmt: skip

_BACK_MS = (1_100, 1_100, 1_100, 4_000)


def _kill(process: str) -> Callable[[Random], AnyStrike]:
    def draw(random: Random) -> AnyStrike:
        effects = random.choice((None, None, 0, 1, 2, 3, 5, 8))
        return Kill(process=process, back_ms=random.choice(_BACK_MS), effects=effects)

    return draw


def _stall(process: str) -> Callable[[Random], AnyStrike]:
    return lambda random: Stall(process=process, for_ms=random.choice((300, 1_200, 2_700, 4_500)))


def _fault(build: Callable[[Random], AnyFault]) -> Callable[[Random], AnyStrike]:
    return lambda random: Inject(fault=build(random))


def _deafen(random: Random) -> AnyStrike:
    publisher, reader = random.choice(PAIRS)
    return Deafen(publisher=publisher, reader=reader, for_ms=random.choice((100, 500, 1_500)))


def _step_clock(random: Random) -> AnyStrike:
    ms = random.choice((-6_000, -1_500, -300, 300, 1_500, 6_000, 20_000))
    return ClockStep(ms=ms, for_ms=random.choice((1_000, 4_000, 9_000)))


def _fill_disk(random: Random) -> AnyStrike:
    process = random.choice(("execution", "tracking", "coordinator"))
    return DiskFull(process=process, for_ms=random.choice((200, 1_500, 5_000)))


def _operate(random: Random) -> AnyStrike:
    return Operate(verb=random.choice(("pause", "flatten", "stop", "recalibrate", "sync", "halt", "resume")))


_EXCHANGE: tuple[Callable[[Random], AnyFault], ...] = (
    lambda draw: faults.Delay(path=ORDERS, ms=draw.choice((50, 400, 2_000)), count=draw.randint(1, 4)),
    lambda draw: faults.Delay(path=ORDERS, ms=draw.choice((50, 400, 2_000)), at="answer", count=draw.randint(1, 4)),
    lambda draw: faults.HttpError(path=ORDERS, status=draw.choice((429, 500, 503)), count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(path=ORDERS, status=502, executed=True, count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(
        status=draw.choice((429, 503)), duration_s=draw.choice((2, 8)), body=draw.choice(("json", "html", "empty"))
    ),
    lambda draw: faults.HttpError(path=READS, method="GET", status=503, count=draw.randint(1, 5)),
    lambda draw: faults.Lost(path=ORDERS, hang_ms=draw.choice((0, 300)), count=draw.randint(1, 3)),
    lambda draw: faults.Cut(path=ORDERS, hang_ms=draw.choice((0, 300)), count=draw.randint(1, 3)),
    lambda draw: faults.Late(path=ORDERS, ms=draw.choice((500, 3_000, 9_000)), count=draw.randint(1, 2)),
    lambda draw: faults.NoOrderId(path=ORDERS, method="POST", count=1, body=draw.choice(("stripped", "empty"))),
    lambda draw: faults.Unauthorized(path=draw.choice((ORDERS, READS)), count=draw.randint(1, 2)),
    lambda draw: faults.FillFirst(path=ORDERS, ms=200, count=draw.randint(1, 5)),
    lambda draw: faults.FillAfterCancel(path=ORDERS, ms=200, count=draw.randint(1, 3)),
    lambda draw: faults.StaleRead(ms=draw.choice((300, 2_000)), duration_s=20),
    lambda draw: faults.ReadLag(
        ms=2_000, stamp=draw.choice(("truthful", "stuck", "optimistic")), ahead_ms=1_500, duration_s=10
    ),
    lambda draw: faults.Gap(channel="orderbook_delta", count=draw.randint(1, 3)),
    lambda draw: faults.Duplicate(channel=draw.choice(("orderbook_delta", "fill", "user_orders")), count=2),
    lambda draw: faults.PrivateSilence(channel=draw.choice(("fill", "user_orders")), count=draw.randint(1, 3)),
    lambda draw: faults.FrameDelay(ms=draw.choice((100, 800)), duration_s=3),
    lambda draw: faults.StaleStream(duration_s=draw.choice((3, 20))),
    lambda draw: faults.StreamDrop(),
    lambda draw: faults.StreamFault(code=draw.choice((10, 25))),
    lambda draw: faults.ClockSkew(ms=draw.choice((-4_000, -1_000, 1_000, 4_000)), duration_s=4),
    lambda draw: faults.TradingPause(duration_s=draw.choice((2, 8))),
    lambda draw: faults.Maintenance(duration_s=draw.choice((2, 8))),
    lambda draw: faults.MarketDeactivate(ticker=STAYS, duration_s=4),
    lambda draw: faults.Unbacked(ticker=draw.choice((STAYS, "KXSIM*")), account="default"),
    lambda draw: faults.GridChange(ticker=STAYS, grid=draw.choice(("linear_cent", "deci_cent"))),
    lambda draw: faults.EarlyClose(ticker=draw.choice((CLOSES, "KXSIMROLL*"))),
    lambda draw: faults.Disputed(ticker=CLOSES, duration_s=5, result="yes", final=draw.choice(("yes", "no"))),
    lambda draw: faults.Deposit(account="default", usd=draw.choice(("3.00", "-2.50", "40.00"))),
    lambda draw: faults.ForeignOrder(
        ticker=STAYS, account="default", side=draw.choice(("bid", "ask")), price=draw.choice(("0.0500", "0.9500")),
        count="3.00",
    ),
)  # fmt: skip

FAMILIES: dict[str, dict[str, Callable[[Random], AnyStrike]]] = {
    "kills": {f"kill {process}": _kill(process) for process in CORES},
    "power": {"power cut": lambda random: PowerCut(back_ms=random.choice(_BACK_MS))},
    "stalls": {f"stall {process}": _stall(process) for process in CORES},
    "bus": {"deafen": _deafen},
    "clock": {"clock step": _step_clock},
    "disk": {"disk full": _fill_disk},
    "operator": {"operate": _operate},
    "exchange": {
        f"{kind_of(build(Random(0)))} {number}": _fault(build) for number, build in enumerate(_EXCHANGE, start=1)
    },
}
"""Every kind of strike, by family."""


def kinds(families: tuple[str, ...]) -> dict[str, Callable[[Random], AnyStrike]]:
    """Return the kinds of some families."""
    return {name: draw for family in families for name, draw in FAMILIES[family].items()}


def draw_strikes(seed: int, families: tuple[str, ...]) -> tuple[AnyStrike, ...]:
    """Return a seed's strikes: the next cells of the table of kinds and phases, with details by chance."""
    table = kinds(families)
    cells = [(name, phase) for name in table for phase in PHASES]
    Random(0).shuffle(cells)
    random = Random(f"{seed}/strikes")
    strikes = []
    for number in range(seed * STRIKES_PER_SEED, (seed + 1) * STRIKES_PER_SEED):
        name, phase = cells[number % len(cells)]
        wait_ms = int(random.uniform(200, 5_000))
        strikes.append(msgspec.structs.replace(table[name](random), wait_ms=wait_ms, aim=phase))
    return tuple(strikes)


def name_of(strike: AnyStrike) -> str:
    """Return a strike's kind in a few words."""
    match strike:
        case Kill() | Stall():
            return f"{strike.__struct_config__.tag} {strike.process}"
        case Inject():
            return str(kind_of(strike.fault))
    return str(strike.__struct_config__.tag).replace("_", " ")


def carry_out(town: Town, strike: AnyStrike) -> None:
    """Do it."""
    match strike:
        case Kill(effects=None):
            town.kill(strike.process, strike.back_ms * NS_PER_MS)
        case Kill():
            town.kill_amid(strike.process, strike.effects or 0, strike.back_ms * NS_PER_MS)
        case PowerCut():
            town.cut_power(strike.back_ms * NS_PER_MS)
        case Stall():
            town.stall(strike.process, strike.for_ms * NS_PER_MS)
        case Deafen():
            town.bus.deafen(strike.publisher, strike.reader, strike.for_ms * NS_PER_MS)
        case ClockStep():
            town.timeline.set_clock(strike.ms * NS_PER_MS)
            town.timeline.after(strike.for_ms * NS_PER_MS, lambda: town.timeline.set_clock(0))
        case DiskFull():
            town.fill_disk(strike.process, strike.for_ms * NS_PER_MS)
        case Operate(verb="halt"):
            town.operate(Halt(reason="struck"))
        case Operate():
            town.operate(Command(verb=strike.verb, reason="struck"))  # type: ignore[arg-type]
        case Inject():
            town.wire.inject(strike.fault)
