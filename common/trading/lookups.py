"""Look-ups: what became of orders whose answer or end is missing. Asked of sync until evidence tells. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.effects import Ask, Effect
from common.messages import Lookup
from common.trading.evidence import EVIDENCE_WINDOW_NS
from common.trading.orders import OrderRecord

if TYPE_CHECKING:
    from common.trading.executor import Executor

FIRST_AFTER_NS = NS_PER_S // 2  # the stream usually tells sooner
AGAIN_AFTER_NS = 2 * NS_PER_S
TIMEOUT_NS = 12 * NS_PER_S
UNDER_WAY_MAX = 4
PAPER_WINDOW_NS = 20 * NS_PER_S  # the paper exchange's signature window plus 5 s


class Lookups:
    """Which orders are asked about, and when again."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._next_ns: dict[str, int] = {}  # client order id -> when to ask (again)
        self._under_way: dict[str, str] = {}  # request id -> client order id
        self._suspected: dict[str, None] = {}  # orders that a list did not show although they should rest

    @property
    def window_ns(self) -> int:
        """How much later than a signing a read must be to prove absence."""
        paper = self.executor.settings.exchange.environment == "paper"
        return PAPER_WINDOW_NS if paper else EVIDENCE_WINDOW_NS

    def suspect(self, order: OrderRecord) -> None:
        """Ask about an order that a list should have shown: its end may never have been told."""
        self._suspected[order.client_order_id] = None

    def ask(self) -> list[Effect]:
        """Return the look-ups that are due."""
        executor, now_ns = self.executor, self.executor.now.mono_ns
        live = executor.keeper.live
        self._suspected = {name: None for name in self._suspected if name in live}
        wanted = [order for name, order in live.items() if order.wants_lookup or name in self._suspected]
        self._next_ns = {
            order.client_order_id: self._next_ns.get(order.client_order_id, now_ns + FIRST_AFTER_NS) for order in wanted
        }
        asked = set(self._under_way.values())
        effects: list[Effect] = []
        for order in wanted:
            name = order.client_order_id
            if len(self._under_way) >= UNDER_WAY_MAX or name in asked or self._next_ns[name] > now_ns:
                continue
            effects.append(self._ask(order))
        return effects

    def _ask(self, order: OrderRecord) -> Effect:
        request_id = self.executor.request_id()
        self._under_way[request_id] = order.client_order_id
        self._next_ns[order.client_order_id] = self.executor.now.mono_ns + AGAIN_AFTER_NS
        self.executor.counts["lookups"] += 1
        request = Lookup(
            client_order_id=order.client_order_id,
            ticker=order.ticker,
            order_id=order.order_id,
            signed_wall_ns=order.signed_wall_ns or order.created_wall_ns,
            not_before_wall_ns=0,  # answer at once; whether it is late enough is judged here
            shard=order.shard,
            created_wall_ns=order.created_wall_ns,
        )
        return Ask(request_id=request_id, owner="sync", request=request, timeout_ns=TIMEOUT_NS)

    def answered(self, request_id: str) -> OrderRecord | None:
        """Return the order that an answer is about."""
        name = self._under_way.pop(request_id, "")
        self._suspected.pop(name, None)
        return self.executor.keeper.orders.get(name)

    def failed(self, request_id: str) -> None:
        """Take note that no answer came; it is asked again."""
        self._under_way.pop(request_id, None)
