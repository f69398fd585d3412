"""fidelity: how much a simulated market is like the real one: the same statistics of both, side by side.

`MarketStatistics` is fed with the changes of one book and its trades, whatever they come from, and counts. `REAL` holds
the same figures of real markets: the book of 15-minute bitcoin markets (50 sessions, 2.76 million changes, May 2026)
and, for what a book does not tell, the trades of 466 15-minute ether markets. Statistics, hence floats.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.exchange import Exchange
from common.paper.flow import Flow
from common.paper.model import BookDelta, Side, TradeMade
from common.paper.recording import BookFrame, DeltaFrame, PrintFrame, RecordedMarket
from common.paper.scenario import Scenario
from common.paper.state import Options

START_NS = 1_800_000_000 * NS_PER_S  # where simulated time begins: on a quarter hour
_STEP_NS = 20 * NS_PER_MS
_MIDDLE_E4 = range(1_000, 9_001)  # both best prices here: distances and spreads are in whole cents
_DEPTH_LEVELS = 10

REAL: dict[str, float] = {
    "deltas/s mean": 82.9,
    "deltas/s p50": 63,
    "deltas/s p90": 186,
    "deltas/s p99": 356,
    "deltas/s max": 798,
    "deltas/s variance / mean": 75,
    "deltas/s autocorrelation 1 s": 0.53,
    "deltas/s autocorrelation 10 s": 0.33,
    "deltas/s autocorrelation 60 s": 0.20,
    "gap 0 us %": 33.3,
    "gap < 1 ms %": 46.6,
    "gap < 10 ms %": 75.3,
    "adds %": 47.6,
    "in amend pairs %": 45.0,
    "new level %": 7.4,
    "level emptied %": 7.6,
    "add at best or better %": 27.2,
    "add 1 c behind %": 18.6,
    "add 2 to 5 c behind %": 33.1,
    "removal at best %": 31.3,
    "removal 1 c behind %": 18.3,
    "removal 2 to 5 c behind %": 32.1,
    "add size p25": 13,
    "add size p50": 75,
    "add size p75": 400,
    "add size p90": 1_000,
    "add size mean": 597,
    "add size 400 %": 9.0,
    "add size 10 %": 6.9,
    "spread 1 c %": 82.2,
    "spread 2 c %": 15.4,
    "best size p25": 80,
    "best size p50": 265,
    "best size p75": 1_076,
    "depth level 1": 870,
    "depth level 2": 938,
    "depth level 3": 898,
    "depth level 5": 551,
    "depth level 10": 705,
    "levels a side p50": 101,
    "mid moves/s": 5.1,
    "prints/min": 50.8,
    "print sign autocorrelation 1": 0.53,
    "print sign autocorrelation 2": 0.35,
    "print sign autocorrelation 3": 0.25,
    "taker order sign autocorrelation 1": 0.17,
    "taker order sign autocorrelation 2": 0.11,
    "prints per taker order: 1 %": 67,
    "prints per taker order: 2 %": 17,
    "prices swept: 1 %": 79,
    "prices swept: 2 %": 10.7,
    "taker order size p50": 11.7,
    "taker order size p75": 33,
    "taker order size mean": 40.5,
}
"""Real figures by name; those about prints and taker orders are ether's, all others bitcoin's."""

HELD: frozenset[str] = frozenset(
    {
        "deltas/s mean",
        "deltas/s p50",
        "deltas/s p99",
        "adds %",
        "in amend pairs %",
        "spread 1 c %",
        "best size p50",
        "prints/min",
        "print sign autocorrelation 1",
        "print sign autocorrelation 2",
        "print sign autocorrelation 3",
    }
)
"""The figures that a test holds within a factor of two."""


class MarketStatistics:
    """Counts over one market."""

    def __init__(self) -> None:
        self._half: dict[Side, dict[int, int]] = {"bid": {}, "ask": {}}
        self._prices: dict[Side, list[int]] = {"bid": [], "ask": []}  # ascending
        self._changes: list[tuple[int, Side, int, int]] = []  # ts_ns, side, price_e4, delta_e2
        self._facts: Counter[str] = Counter()
        self._spread_ns: Counter[int] = Counter()
        self._samples: Counter[str] = Counter()
        self._best_sizes: list[int] = []
        self._depths = [0] * _DEPTH_LEVELS
        self._levels: list[int] = []
        self._trades: list[tuple[int, int, int, bool]] = []  # ts_ns, price_e4, qty_e2, taker buys
        self._sampled_s = 0
        self._seen_ns = 0

    def start(self, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]], ts_ns: int) -> None:
        """Begin with a whole book: (price_e4, qty_e2)."""
        sides: tuple[tuple[Side, Sequence[tuple[int, int]]], ...] = (("bid", bids), ("ask", asks))
        for side, levels in sides:
            self._half[side] = dict(levels)
            self._prices[side] = sorted(self._half[side])
        self._seen_ns = ts_ns
        self._sampled_s = ts_ns // NS_PER_S

    def note_change(self, ts_ns: int, side: Side, price_e4: int, delta_e2: int) -> None:
        """Count one change of a level."""
        self._pass_time(ts_ns)
        self._count_distance(side, price_e4, delta_e2)
        self._changes.append((ts_ns, side, price_e4, delta_e2))
        mid = self._mid()
        half, prices = self._half[side], self._prices[side]
        before_e2 = half.get(price_e4, 0)
        after_e2 = before_e2 + delta_e2
        assert after_e2 >= 0, f"{side} at {price_e4}: {before_e2} {delta_e2:+}"
        if after_e2:
            half[price_e4] = after_e2
        else:
            del half[price_e4]
            prices.remove(price_e4)
            self._facts["emptied"] += 1
        if not before_e2:
            insort(prices, price_e4)
            self._facts["new"] += 1
        self._facts["mid moves"] += mid != self._mid()

    def note_trade(self, ts_ns: int, price_e4: int, qty_e2: int, taker_buys: bool) -> None:
        """Count one print."""
        self._trades.append((ts_ns, price_e4, qty_e2, taker_buys))

    def report(self) -> dict[str, float]:
        """Return the figures, by the names of `REAL`."""
        figures = self._rates() | self._gaps() | self._kinds() | self._sizes() | self._book()
        return figures | (self._prints() if len(self._trades) > 1 else {})

    # --- counting ---

    def _best(self) -> tuple[int, int] | None:
        bids, asks = self._prices["bid"], self._prices["ask"]
        return (bids[-1], asks[0]) if bids and asks else None

    def _mid(self) -> int:
        best = self._best()
        return best[0] + best[1] if best else 0

    def _in_middle(self) -> bool:
        best = self._best()
        return best is not None and best[0] in _MIDDLE_E4 and best[1] in _MIDDLE_E4

    def _pass_time(self, ts_ns: int) -> None:
        """Note the book as it stood until `ts_ns`, time-weighted and once a second."""
        best = self._best()
        if best and self._in_middle():
            self._spread_ns[(best[1] - best[0]) // 100] += ts_ns - self._seen_ns
            for _ in range(self._sampled_s, ts_ns // NS_PER_S):
                self._sample()
        self._sampled_s = max(self._sampled_s, ts_ns // NS_PER_S)
        self._seen_ns = ts_ns

    def _sample(self) -> None:
        for side, best_first in (("bid", -1), ("ask", 1)):
            half, prices = self._half[side], self._prices[side][::best_first]  # type: ignore[index]
            self._best_sizes.append(half[prices[0]])
            self._levels.append(len(prices))
            self._samples["sides"] += 1
            for level in range(_DEPTH_LEVELS):
                self._depths[level] += half.get(prices[0] + best_first * 100 * level, 0)

    def _count_distance(self, side: Side, price_e4: int, delta_e2: int) -> None:
        if not self._in_middle():
            return
        best = self._best()
        assert best is not None
        behind = (best[0] - price_e4) // 100 if side == "bid" else (price_e4 - best[1]) // 100
        what = "add" if delta_e2 > 0 else "removal"
        self._facts[what] += 1
        self._facts[f"{what} {max(behind, 0)}"] += 1

    # --- figures ---

    def _rates(self) -> dict[str, float]:
        times = [change[0] // NS_PER_S for change in self._changes]
        per_second = Counter(times)
        counts = [per_second[second] for second in range(times[0] + 1, times[-1])]  # whole seconds only
        mean, variance = _moments(counts)
        figures = {
            "deltas/s mean": mean,
            "deltas/s p50": _quantile(counts, 0.50),
            "deltas/s p90": _quantile(counts, 0.90),
            "deltas/s p99": _quantile(counts, 0.99),
            "deltas/s max": max(counts),
            "deltas/s variance / mean": variance / mean,
            "mid moves/s": self._facts["mid moves"] / len(counts),
        }
        return figures | {f"deltas/s autocorrelation {lag} s": _autocorrelation(counts, lag) for lag in (1, 10, 60)}

    def _gaps(self) -> dict[str, float]:
        gaps = [later[0] - earlier[0] for earlier, later in pairwise(self._changes)]
        return {
            "gap 0 us %": _percent(sum(gap < 1_000 for gap in gaps), len(gaps)),
            "gap < 1 ms %": _percent(sum(gap < NS_PER_MS for gap in gaps), len(gaps)),
            "gap < 10 ms %": _percent(sum(gap < 10 * NS_PER_MS for gap in gaps), len(gaps)),
        }

    def _kinds(self) -> dict[str, float]:
        total, facts = len(self._changes), self._facts
        figures = {
            "adds %": _percent(sum(change[3] > 0 for change in self._changes), total),
            "in amend pairs %": _percent(_in_amend_pairs(self._changes), total),
            "new level %": _percent(facts["new"], total),
            "level emptied %": _percent(facts["emptied"], total),
        }
        for what, first in (("add", "add at best or better %"), ("removal", "removal at best %")):
            figures[first] = _percent(facts[f"{what} 0"], facts[what])
            figures[f"{what} 1 c behind %"] = _percent(facts[f"{what} 1"], facts[what])
            near = sum(facts[f"{what} {distance}"] for distance in range(2, 6))
            figures[f"{what} 2 to 5 c behind %"] = _percent(near, facts[what])
        return figures

    def _sizes(self) -> dict[str, float]:
        sizes = [change[3] / 100 for change in self._changes if change[3] > 0]
        figures = {f"add size p{share}": _quantile(sizes, share / 100) for share in (25, 50, 75, 90)}
        figures["add size mean"] = _moments(sizes)[0]
        for size in (400, 10):
            figures[f"add size {size} %"] = _percent(sizes.count(size), len(sizes))
        return figures

    def _book(self) -> dict[str, float]:
        total_ns, sides = sum(self._spread_ns.values()), self._samples["sides"]
        if not sides:
            return {}
        figures = {f"spread {cents} c %": _percent(self._spread_ns[cents], total_ns) for cents in (1, 2)}
        figures |= {f"best size p{share}": _quantile(self._best_sizes, share / 100) / 100 for share in (25, 50, 75)}
        figures |= {f"depth level {level}": self._depths[level - 1] / sides / 100 for level in (1, 2, 3, 5, 10)}
        return figures | {"levels a side p50": _quantile(self._levels, 0.5)}

    def _prints(self) -> dict[str, float]:
        minutes = (self._trades[-1][0] - self._trades[0][0]) / NS_PER_S / 60
        orders = _taker_orders(self._trades)
        signs = [1 if trade[3] else -1 for trade in self._trades]
        order_signs = [1 if order[0][3] else -1 for order in orders]
        sizes = [sum(trade[2] for trade in order) / 100 for order in orders]
        swept = [len({trade[1] for trade in order}) for order in orders]
        figures: dict[str, float] = {"prints/min": len(self._trades) / minutes}
        figures |= {f"print sign autocorrelation {lag}": _autocorrelation(signs, lag) for lag in (1, 2, 3)}
        figures |= {f"taker order sign autocorrelation {lag}": _autocorrelation(order_signs, lag) for lag in (1, 2)}
        for count in (1, 2):
            figures[f"prints per taker order: {count} %"] = _percent(
                sum(len(order) == count for order in orders), len(orders)
            )
            figures[f"prices swept: {count} %"] = _percent(swept.count(count), len(orders))
        figures["taker order size p50"] = _quantile(sizes, 0.50)
        figures["taker order size p75"] = _quantile(sizes, 0.75)
        figures["taker order size mean"] = _moments(sizes)[0]
        return figures


def measure_scenario(scenario: Scenario, series: str, seconds: float, seed: int) -> dict[str, float]:
    """Play a scenario in simulated time and return the figures of the first market of a series."""
    exchange, flow = Exchange(Options(seed=seed, shards=scenario.options.shards)), Flow(scenario, seed)
    flow.step(exchange, START_NS)
    ticker = next(name for name in flow.tickers(exchange) if name.startswith(series))
    book, found = exchange.markets[ticker].book, MarketStatistics()
    found.start(book.levels("bid"), book.levels("ask"), START_NS)
    exchange.drain()
    for now_ns in range(START_NS, START_NS + round(seconds * NS_PER_S), _STEP_NS):
        flow.step(exchange, now_ns)
        for event in exchange.drain():
            if isinstance(event, BookDelta) and event.ticker == ticker:
                found.note_change(event.ts_ns, event.side, event.price_e4, event.delta_e2)
            elif isinstance(event, TradeMade) and event.trade.ticker == ticker:
                trade = event.trade
                found.note_trade(trade.ts_ns, trade.price_e4, trade.qty_e2, trade.taker_side == "bid")
    return found.report()


def measure_recording(market: RecordedMarket) -> dict[str, float]:
    """Return the figures of a recorded market until its close."""
    found, begun = MarketStatistics(), False
    for frame in market.frames:
        if frame.ts_ns >= market.close_ns:
            break
        if isinstance(frame, BookFrame):
            assert not begun, "a recording of two connections has no continuous statistics"
            found.start(frame.bids, frame.asks, frame.ts_ns)
            begun = True
        elif isinstance(frame, DeltaFrame):
            found.note_change(frame.ts_ns, frame.side, frame.price_e4, frame.delta_e2)
        elif isinstance(frame, PrintFrame):
            found.note_trade(frame.ts_ns, frame.price_e4, frame.qty_e2, frame.taker_side == "bid")
    return found.report()


def mean_figures(sessions: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over several sessions; one session alone may be calm or wild."""
    names = [name for name in REAL if all(name in figures for figures in sessions)]
    return {name: sum(figures[name] for figures in sessions) / len(sessions) for name in names}


def compare(figures: dict[str, float]) -> str:
    """Return a table of the figures beside the real ones; those that are held are marked, misses too."""
    lines = [f"{'':38} {'measured':>10} {'real':>10} {'ratio':>7}"]
    for name, real in REAL.items():
        if name not in figures:
            continue
        ratio = figures[name] / real
        mark = (" held" if name in HELD else "") + ("" if within_a_factor_of_two(ratio) else " OUT")
        lines.append(f"{name:38} {figures[name]:>10.2f} {real:>10.2f} {ratio:>7.2f}{mark}")
    return "\n".join(lines)


def within_a_factor_of_two(ratio: float) -> bool:
    """Say whether a measured figure is between half and twice the real one."""
    return 0.5 <= ratio <= 2.0


def _in_amend_pairs(changes: Sequence[tuple[int, Side, int, int]]) -> int:
    """Count the changes that belong to pairs of -q and +q on one side, at two prices and one time."""
    paired, last_paired = 0, -1
    for place, (earlier, later) in enumerate(pairwise(changes)):
        if place == last_paired:
            continue
        if earlier[:2] == later[:2] and earlier[2] != later[2] and earlier[3] == -later[3]:
            paired += 2
            last_paired = place + 1
    return paired


def _taker_orders(trades: Sequence[tuple[int, int, int, bool]]) -> list[list[tuple[int, int, int, bool]]]:
    """Group prints of one time and direction: they come from one taker order."""
    orders: list[list[tuple[int, int, int, bool]]] = []
    for trade in trades:
        if orders and orders[-1][0][0] == trade[0] and orders[-1][0][3] == trade[3]:
            orders[-1].append(trade)
        else:
            orders.append([trade])
    return orders


def _moments(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _autocorrelation(values: Sequence[float], lag: int) -> float:
    if len(values) <= lag + 1:
        return 0.0
    mean, variance = _moments(values)
    if not variance:
        return 0.0
    products = sum((a - mean) * (b - mean) for a, b in zip(values, values[lag:], strict=False))
    return products / (len(values) - lag) / variance
