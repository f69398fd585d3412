"""Watch: what the group says of itself while it is struck, heard as a tap hears it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from common import clock
from common.bus.run_dir import RunDir
from common.bus.tap import Tap
from common.clock import NS_PER_S
from common.messages import Heartbeat, Order, OrderState, State, TraderState

_POLL_MS = 20
_AT_THE_EXCHANGE = (OrderState.RESTING, OrderState.FILLED)
_TRADING = (State.READY, State.ACTING)


class Watch:
    """Follows the state, the heartbeats and the orders; use it as a context manager."""

    def __init__(self, run_dir: RunDir) -> None:
        self._tap = Tap(run_dir, ["order/", "trader_state/", "heartbeat/"], queue_max=100_000)
        self.trader: TraderState | None = None
        self.story: list[tuple[int, str]] = []  # when the trader told what, since it was last begun anew
        self.pids: dict[str, int] = {}
        self.beats_ns: dict[str, int] = {}  # when a process was last heard
        self.trading_ns = 0  # since when it trades
        self.acknowledged_ns = 0  # when the newest order was acknowledged ...
        self.decided_ns = 0  # ... and when it was decided

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._tap.close()

    @property
    def state(self) -> str:
        """The last state that was told."""
        return self.trader.state.value if self.trader else "?"

    def pump(self, timeout_ms: int = _POLL_MS) -> None:
        """Take what has come, or comes within this time."""
        self._tap.wait(timeout_ms)
        for heard in self._tap.receive():
            body, now_ns = heard.frame.body, clock.mono_ns()
            match heard.frame.topic:
                case "order":
                    self._on_order(msgspec.json.decode(body, type=Order), now_ns)
                case "trader_state":
                    self._on_state(msgspec.json.decode(body, type=TraderState))
                case "heartbeat":
                    beat = msgspec.json.decode(body, type=Heartbeat)
                    if self.pids.get(beat.process, beat.pid) != beat.pid:
                        self.story.append((now_ns, f"{beat.process} is heard again"))
                    self.pids[beat.process], self.beats_ns[beat.process] = beat.pid, now_ns

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Listen until the condition holds; say whether it did before time was up."""
        end_ns = clock.mono_ns() + round(timeout_s * NS_PER_S)
        while not condition():
            if clock.mono_ns() > end_ns:
                return False
            self.pump()
        return True

    def listen(self, seconds: float) -> None:
        """Let time pass."""
        self.until(lambda: False, seconds)

    def _on_state(self, trader: TraderState) -> None:
        if trader.state in _TRADING and (self.trader is None or self.trader.state not in _TRADING):
            self.trading_ns = trader.since_mono_ns
        self.trader = trader
        causes = [f"{cause.kind}: {cause.detail}" for cause in trader.causes]
        steps = [f"{step.step} {step.status} {step.detail}".rstrip() for step in trader.steps]
        words = "; ".join([trader.state.value, *causes, *(steps[-1:] if trader.state is State.CALIBRATING else ())])
        if not self.story or self.story[-1][1] != words:
            self.story.append((clock.mono_ns(), words))

    def _on_order(self, order: Order, now_ns: int) -> None:
        if order.state in _AT_THE_EXCHANGE and order.order_id and order.decided_mono_ns > self.decided_ns:
            self.decided_ns = order.decided_mono_ns
            self.acknowledged_ns = order.answered_mono_ns or now_ns

    def trades_since(self, since_ns: int) -> bool:
        """Say whether the trader trades, and a later order, decided in this state, is acknowledged."""
        trades = self.trader is not None and self.trader.state in _TRADING
        return trades and self.decided_ns > max(since_ns, self.trading_ns)
