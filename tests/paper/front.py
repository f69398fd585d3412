"""A venue with faults and clients that sign, in simulated time; what a server does with a plan is done by hand."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.call import API_PREFIX, ApiOptions, Request
from common.paper.control import Control
from common.paper.fault_catalogue import parse_action, parse_rule
from common.paper.faulty_venue import FaultyVenue
from common.paper.keys import WS_PATH, AccountBook, Key
from common.paper.ledger import Ledger, build_ledger
from common.paper.model import AddAccount, CreateOrder, MoveCash
from common.paper.scenario import parse_scenario
from common.paper.sessions import Session
from common.paper.venue import Venue, VenueOptions
from common.units import USD_ONE_E6
from tests.paper.rest import public_pem, sign

START_NS = 1_790_000_000 * NS_PER_S
ORDERS = "/portfolio/events/orders"
UNLIMITED = VenueOptions(api=ApiOptions(rate_limits=False))
TOKEN = "token-of-the-test"
SCENARIO = """
title = "Two members and a quiet market"
[[account]]
name = "ann"
[[account]]
name = "bob"
[[series]]
ticker = "KXS"
title = "Series"
[[event]]
ticker = "KXS-1"
series = "KXS"
title = "Event"
[[market]]
ticker = "KXS-1-A"
event = "KXS-1"
title = "A"
yes = "Yes"
no = "No"
closes_s = 86_400
settlement_timer_s = 30
value = { kind = "fixed", start = 0.45 }
result = "yes"
standing = [
    { side = "bid", price = "0.4400", count = "300.00" },
    { side = "ask", price = "0.4600", count = "250.00" },
]
[[market]]
ticker = "KXS-1-B"
event = "KXS-1"
title = "B"
yes = "Yes"
no = "No"
closes_s = 86_400
value = { kind = "fixed", start = 0.5 }
result = "no"
"""
A = "KXS-1-A"
B = "KXS-1-B"
Json = dict[str, Any]


class Outcome:
    """What a client sees of its request: an answer, or (status 0) a connection that was cut; and when."""

    def __init__(self, status: int, raw: bytes, content_type: str | None, at_ns: int) -> None:
        self.status = status
        self.raw = raw
        self.content_type = content_type
        self.at_ns = at_ns

    @property
    def json(self) -> Any:
        """Return the body."""
        return json.loads(self.raw)


class Front:
    """A venue with faults; its clock moves only by waiting."""

    def __init__(self, scenario: str = SCENARIO, seed: int = 0, speed: float = 1.0) -> None:
        self.now_ns = START_NS
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("ann", "bob")}
        self.book = AccountBook()
        self.log: list[bytes] = []
        venue = Venue.found(parse_scenario(scenario, "test"), self.book, speed=speed, options=UNLIMITED)
        venue.record = self.log.append
        self.log.append(venue.checkpoint())
        for name, key in self.keys.items():
            self.book.add(Key(key_id=f"key-{name}", account=name), public_pem(key))
        self.front = FaultyVenue(venue, seed)
        self.control = Control(self.front, TOKEN)
        self.wait_ms(0)

    def restart(self, away_ms: int = 0) -> None:
        """Recover the exchange from its log, as after a SIGKILL."""
        venue = Venue.recover(self.log, self.book, origin={}, options=UNLIMITED)
        venue.record = self.log.append
        self.front = FaultyVenue(venue)
        self.control = Control(self.front, TOKEN)
        self.wait_ms(away_ms)

    def wait_ms(self, ms: float) -> None:
        """Let time pass, in steps of what is due."""
        end_ns = self.now_ns + int(ms * NS_PER_MS)
        self.front.advance(self.now_ns)
        while (due_ns := self.front.next_due_ns()) is not None:
            due_ns -= self.front.clock_ns(self.now_ns) - self.now_ns
            if not self.now_ns < due_ns <= end_ns:
                break
            self.now_ns = due_ns
            self.front.advance(due_ns)
        self.now_ns = end_ns
        self.front.advance(end_ns)

    # --- faults ---

    def fault(self, kind: str, **table: Any) -> int:
        """Put a rule in force."""
        return self.front.add(parse_rule({"kind": kind, **table}), self.now_ns)

    def act(self, kind: str, **table: Any) -> int:
        """Do an action, or schedule it."""
        return self.front.add(parse_action({"kind": kind, **table}), self.now_ns)

    def count(self, kind: str) -> int:
        """Return how often a kind took effect, which must be what its faults say themselves."""
        rows = self.front.faults.rows(self.now_ns)
        of_kind = [row.injected for row in rows if row.fault.__struct_config__.tag == kind]
        assert sum(of_kind) == self.front.faults.counts[kind]
        return self.front.faults.counts[kind]

    # --- clients ---

    def request(self, method: str, path: str, body: Any = None, account: str = "ann", query: str = "") -> Request:
        """Return a signed request ("" as account: an unsigned one)."""
        full = WS_PATH if path == "/ws/v2" else API_PREFIX + path
        headers = {"host": "127.0.0.1"}
        if account:
            timestamp = str(self.now_ns // NS_PER_MS)
            headers |= {
                "kalshi-access-key": f"key-{account}",
                "kalshi-access-timestamp": timestamp,
                "kalshi-access-signature": sign(self.keys[account], f"{timestamp}{method}{full}"),
            }
        return Request(method, full, query, headers, b"" if body is None else json.dumps(body).encode())

    def ask(self, method: str, path: str, body: Any = None, account: str = "ann", query: str = "") -> Outcome:
        """Send a request and wait for whatever comes of it."""
        request = self.request(method, path, body, account, query)
        plan = self.front.plan(request, self.now_ns)
        cut_ns = self.now_ns
        self.wait_ms(plan.wait_ns / NS_PER_MS)
        if plan.is_lost:
            return Outcome(0, b"", None, self.now_ns)
        ending = self.front.carry_out(plan, request, self.now_ns)
        self.wait_ms(ending.wait_ns / NS_PER_MS)
        if plan.is_cut or ending.is_cut:
            return Outcome(0, b"", None, cut_ns if plan.is_cut else self.now_ns)
        response = ending.response
        return Outcome(response.status, response.body, response.content_type, self.now_ns)

    def get(self, path: str, account: str = "ann", query: str = "") -> Any:
        """Read something that must be there."""
        outcome = self.ask("GET", path, account=account, query=query)
        assert outcome.status == 200, outcome.raw
        return outcome.json

    def create(self, account: str = "ann", **fields: Any) -> Outcome:
        """Place an order: a resting bid for two contracts unless told otherwise."""
        return self.ask("POST", ORDERS, order(**fields), account)

    def placed(self, account: str = "ann", **fields: Any) -> str:
        """Place an order that must be accepted; return its id."""
        outcome = self.create(account, **fields)
        assert outcome.status == 201, outcome.raw
        return str(outcome.json["order_id"])

    def cancel(self, order_id: str, account: str = "ann") -> Outcome:
        """Cancel an order."""
        return self.ask("DELETE", f"{ORDERS}/{order_id}", account=account)

    def trade(self, order_id: str, qty_e2: int) -> None:
        """Let the crowd trade with a resting order that is first in its queue."""
        known = self.front.venue.exchange.orders[order_id]
        if "house-test" not in self.front.venue.exchange.accounts:
            self.front.venue.execute(AddAccount(account="house-test", house=True), self.now_ns)
        command = CreateOrder(
            account="house-test",
            ticker=known.ticker,
            side="ask" if known.side == "bid" else "bid",
            qty_e2=qty_e2,
            price_e4=known.price_e4,
            time_in_force="immediate_or_cancel",
        )
        self.front.venue.execute(command, self.now_ns)

    def deposit(self, account: str, dollars: int) -> None:
        """Pay money into an account."""
        self.front.venue.execute(MoveCash(account=account, usd_e6=dollars * USD_ONE_E6), self.now_ns)

    def listen(self, *channels: str, account: str = "ann", **params: Any) -> Ear:
        """Connect and subscribe."""
        session = self.front.connect(self.request("GET", "/ws/v2", account=account).headers, self.now_ns)
        ear = Ear(self, session)
        if channels:
            ear.say("subscribe", channels=list(channels), **params)
        return ear

    def ledger(self, account: str | None = None) -> Ledger:
        """Return the truth, as it is now."""
        return build_ledger(self.front.venue.exchange, account)


class Ear:
    """A client's connection."""

    def __init__(self, front: Front, session: Session) -> None:
        self.front = front
        self.session = session
        self._ids = 0

    def say(self, cmd: str, **params: Any) -> None:
        """Send a command."""
        self._ids += 1
        message = json.dumps({"id": self._ids, "cmd": cmd, "params": params})
        self.front.front.say(self.session, message, self.front.now_ns)

    def frames(self) -> list[Json]:
        """Return what was sent since the last call."""
        frames = []
        while taken := self.session.take():
            frames += [json.loads(frame) for frame in taken]
        return frames

    def kinds(self) -> list[str]:
        """Return the types of what was sent since the last call."""
        return [frame["type"] for frame in self.frames()]


def order(**fields: Any) -> Json:
    """Return the body of a create; None leaves a field out."""
    usual = {
        "ticker": A,
        "side": "bid",
        "count": "2.00",
        "price": "0.4000",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
    }
    return {name: value for name, value in (usual | fields).items() if value is not None}
