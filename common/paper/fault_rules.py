"""fault_rules: one fault that was asked for, with its window and count, and what it concerns."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import msgspec

from common.clock import NS_PER_S
from common.paper.call import API_PREFIX, Request
from common.paper.fault_catalogue import AnyAction, AnyFault, AnyRule, FrameRule, Matcher, RequestRule
from common.paper.keys import WS_PATH

_LAGGED = re.compile(r"/portfolio/(balance|positions|fills|settlements|orders(/(?!queue_positions$)[^/]+)?)")
_STAMP = "/exchange/user_data_timestamp"
_ROOT = "/trade-api"

State = Literal["waiting", "active", "over"]


class Asked(NamedTuple):
    """A request as rules see it."""

    request: Request
    account: str  # whose key it names, "" if none
    is_private: bool  # needs a key
    path: str  # below the API's prefix

    @classmethod
    def of(cls, request: Request, account: str, is_private: bool) -> Asked:
        """Look at a request."""
        prefix = _ROOT if request.path == WS_PATH else API_PREFIX
        return cls(request, account, is_private, request.path.removeprefix(prefix))

    @property
    def is_lagged_read(self) -> bool:
        """Say whether it reads what may lag: an account's orders, fills, positions, settlements or balance."""
        return self.request.method == "GET" and _LAGGED.fullmatch(self.path) is not None

    @property
    def is_stamp_read(self) -> bool:
        """Say whether it asks how old those reads are."""
        return self.request.method == "GET" and self.path == _STAMP

    @property
    def is_write(self) -> bool:
        """Say whether it may change something of an account."""
        return self.request.method != "GET" and self.is_private

    @property
    def is_cancel(self) -> bool:
        """Say whether it cancels one order by its id."""
        return self.request.method == "DELETE" and self.path.startswith("/portfolio/events/orders/")

    def names(self, ticker: str) -> bool:
        """Say whether it names a market in its path, query or body."""
        request = self.request
        return ticker in request.path or ticker in request.query or ticker.encode() in request.body


class ArmedRule(msgspec.Struct, kw_only=True):
    """A rule in force, or to be."""

    number: int
    fault: AnyRule
    starts_ns: int
    ends_ns: int | None
    injected: int = 0

    def state(self, now_ns: int) -> State:
        """Say whether it may strike now."""
        if self.ends_ns is not None and now_ns >= self.ends_ns:
            return "over"
        if isinstance(self.fault, Matcher) and 0 < self.fault.count <= self.injected:
            return "over"
        return "waiting" if now_ns < self.starts_ns else "active"


class ArmedAction(msgspec.Struct, kw_only=True):
    """An action that was asked for. `ends_left`: how many of its begun spells have not ended yet."""

    number: int
    fault: AnyAction
    begins_left: int  # -1: without end
    ends_left: int = 0
    injected: int = 0
    refused: int = 0
    refusal: str = ""  # why, the last time

    def state(self, now_ns: int) -> State:
        """Say whether it will do something, or has begun what will end."""
        if self.ends_left:
            return "active"
        return "waiting" if self.begins_left else "over"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as it is listed."""

    id: int
    fault: AnyFault
    state: State
    injected: int
    refused: int = 0
    refusal: str = ""

    @classmethod
    def of(cls, armed: ArmedRule | ArmedAction, now_ns: int) -> Row:
        """List a fault as it stands."""
        refused, refusal = (armed.refused, armed.refusal) if isinstance(armed, ArmedAction) else (0, "")
        return cls(
            id=armed.number,
            fault=armed.fault,
            state=armed.state(now_ns),
            injected=armed.injected,
            refused=refused,
            refusal=refusal,
        )


def window_ns(fault: AnyRule, now_ns: int, speed: float) -> tuple[int, int | None]:
    """Return from when and until when a rule that was asked for at `now_ns` holds."""
    starts_ns = now_ns + int(fault.start_s / speed * NS_PER_S)
    return starts_ns, starts_ns + int(fault.duration_s / speed * NS_PER_S) if fault.duration_s else None


def concerns_request(rule: RequestRule, asked: Asked) -> bool:
    """Say whether a rule is about this request."""
    return (
        rule.account in ("", asked.account)
        and rule.method in ("", asked.request.method)
        and fnmatchcase(asked.path, rule.path)
        and (not rule.ticker or asked.names(rule.ticker))
    )


def concerns_frame(rule: FrameRule, account: str, channel: str, frame: bytes) -> bool:
    """Say whether a rule is about this message of a subscription."""
    return (
        rule.account in ("", account)
        and rule.channel in ("", channel)
        and (not rule.ticker or b'ticker":"%b"' % rule.ticker.encode() in frame)
    )
