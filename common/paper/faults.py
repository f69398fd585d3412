"""faults: decides what goes wrong, and when. Pure and deterministic: seeded, and the time is given.

Rules decide about requests, reads and frames that others carry out (`common.paper.faulty_venue` does, for a server, a
simulation or a test); actions come due and are handed out. Every fault that took effect is counted, by its kind and on
the fault itself. All times are of the true clock. Nothing here survives a restart; what actions did to the exchange
does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.call import Request, Response
from common.paper.fault_answers import error_answer, has_traded, unauthorized_answer, without_order_id
from common.paper.fault_catalogue import (
    Action,
    AnyAction,
    AnyFault,
    ClockSkew,
    Cut,
    Delay,
    Duplicate,
    FillAfterCancel,
    FillFirst,
    FrameDelay,
    FrameRule,
    Gap,
    HttpError,
    Lasting,
    Late,
    Lost,
    Matcher,
    NoOrderId,
    PrivateSilence,
    ReadLag,
    ReadRule,
    RequestRule,
    Rule,
    StaleStream,
    Unauthorized,
    kind_of,
)
from common.paper.fault_rules import ArmedAction, ArmedRule, Asked, Row, concerns_frame, concerns_request, window_ns
from common.paper.sessions import Channel

FAULTS_MAX = 1_000  # in force at a time; more are refused by the control door
OVER_KEPT = 1_000  # finished faults that are still listed
WRITES_KEPT_NS: Final = 61 * NS_PER_S  # longer than any stale read lasts

_R = TypeVar("_R", bound=Rule)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a request until it is carried out, in this order."""

    is_cut: bool = False  # its connection is cut at once
    wait_ns: int = 0
    is_lost: bool = False  # its connection is cut, and it never is carried out
    answer: Response | None = None  # is given instead of carrying it out
    as_of_ns: int | None = None  # carried out: as a read of what was true then


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What happens after a request was carried out."""

    response: Response
    wait_ns: int = 0
    is_cut: bool = False  # the connection is cut instead of the answer


class Fate(NamedTuple):
    """What happens to a message of a subscription: how often it is sent, and how much later."""

    copies: int = 1
    hold_ns: int = 0


class Due(NamedTuple):
    """An action whose time has come."""

    number: int
    action: AnyAction
    phase: Literal["begin", "end"]


PLAIN: Final = Plan()
UNTOUCHED: Final = Fate()


class Faults:
    """The faults in force."""

    def __init__(self, seed: int = 0) -> None:
        self.counts: Counter[str] = Counter()
        self._rng = Random(f"{seed}/faults")
        self._numbers = 0
        self._rules: dict[int, ArmedRule] = {}
        self._actions: dict[int, ArmedAction] = {}
        self._agenda: list[tuple[int, int, Literal["begin", "end"]]] = []
        self._over: deque[ArmedRule | ArmedAction] = deque(maxlen=OVER_KEPT)
        self._writes_ns: dict[str, deque[int]] = {}  # of each account, the latest last

    # --- asking for faults ---

    def __len__(self) -> int:
        return len(self._rules) + len(self._actions)

    def add(self, fault: AnyFault, now_ns: int, speed: float = 1.0) -> int:
        """Put a fault in force; return its number."""
        self._numbers += 1
        if isinstance(fault, Action):
            begins = fault.times if fault.every_s else 1
            self._actions[self._numbers] = ArmedAction(
                number=self._numbers, fault=_in_real_time(fault, speed), begins_left=begins or -1
            )
            heappush(self._agenda, (now_ns + int(fault.start_s / speed * NS_PER_S), self._numbers, "begin"))
        else:
            starts_ns, ends_ns = window_ns(fault, now_ns, speed)
            armed = ArmedRule(number=self._numbers, fault=fault, starts_ns=starts_ns, ends_ns=ends_ns)
            self._rules[self._numbers] = armed
        return self._numbers

    def remove(self, number: int) -> bool:
        """Take a fault out of force; what an action began still ends. Return whether there was one."""
        if (rule := self._rules.pop(number, None)) is not None:
            self._over.append(rule)
            return True
        action = self._actions.get(number)
        if action is None:
            return False
        action.begins_left = 0
        self._agenda = sorted(entry for entry in self._agenda if entry[1:] != (number, "begin"))
        self._retire(action)
        return True

    def clear(self) -> None:
        """Take all faults out of force."""
        for number in [*self._rules, *self._actions]:
            self.remove(number)

    def rows(self, now_ns: int) -> list[Row]:
        """List all faults, the latest finished ones included, in the order in which they were asked for."""
        known = sorted([*self._over, *self._rules.values(), *self._actions.values()], key=lambda each: each.number)
        removed = {each.number for each in self._over}
        rows = [Row.of(armed, now_ns) for armed in known]
        return [msgspec.structs.replace(row, state="over") if row.id in removed else row for row in rows]

    # --- what others need to know ---

    @property
    def has_rules(self) -> bool:
        """Say whether there is any rule to ask about requests."""
        return bool(self._rules)

    def clock_ns(self, now_ns: int) -> int:
        """Return what the exchange's clock shows."""
        if not self._rules:
            return now_ns  # asked several times for each request
        skew_ns = 0
        for armed, rule in self._active(ClockSkew, now_ns):
            skew_ns += rule.ms * NS_PER_MS
            if not armed.injected:
                self._count(armed)
        return now_ns + skew_ns

    def needs_history(self) -> bool:
        """Say whether reads may be answered from the past."""
        return any(isinstance(armed.fault, ReadRule) for armed in self._rules.values())

    def touches_frames(self) -> bool:
        """Say whether messages of subscriptions may be touched."""
        return any(isinstance(armed.fault, FrameRule | FillAfterCancel) for armed in self._rules.values())

    # --- requests ---

    def on_request(self, request: Request, account: str, is_private: bool, now_ns: int) -> Plan:
        """Decide what happens to a request before it is carried out, or instead."""
        asked = Asked.of(request, account, is_private)
        wait_ns = 0
        outcome: Plan | None = None
        for armed, rule in self._active(RequestRule, now_ns):
            if not concerns_request(rule, asked):
                continue
            if isinstance(rule, Delay) and rule.at == "request" and self._strikes(armed):
                wait_ns += self._delay_ns(rule)
            elif outcome is None:
                outcome = self._outcome(armed, asked)
        plan = outcome or Plan(as_of_ns=self._as_of_ns(asked, now_ns))
        return msgspec.structs.replace(plan, wait_ns=plan.wait_ns + wait_ns)

    def _outcome(self, armed: ArmedRule, asked: Asked) -> Plan | None:
        """Return what a rule makes of a request that it concerns; None: it may be carried out."""
        match armed.fault:
            case HttpError(executed=False) as rule if self._strikes(armed):
                return Plan(answer=error_answer(rule))
            case Unauthorized() if asked.is_private and self._strikes(armed):
                return Plan(answer=unauthorized_answer())
            case Lost() as lost if self._strikes(armed):
                return Plan(is_lost=True, wait_ns=lost.hang_ms * NS_PER_MS)
            case Late() as late if self._strikes(armed):
                return Plan(is_cut=True, wait_ns=late.ms * NS_PER_MS)
        return None

    def holds_fill_after(self, request: Request, account: str, now_ns: int) -> int | None:
        """Return for how long (ns) the messages about a fill just before this cancel are held back; None: no fill."""
        asked = Asked.of(request, account, is_private=True)
        for armed, rule in self._active(FillAfterCancel, now_ns):
            if asked.is_cancel and concerns_request(rule, asked) and self._strikes(armed):
                return rule.ms * NS_PER_MS
        return None

    def on_answer(self, request: Request, account: str, is_private: bool, response: Response, now_ns: int) -> Ending:
        """Decide what happens to the answer of a request that was carried out."""
        asked = Asked.of(request, account, is_private)
        if asked.is_write and response.status < 300:
            self._note_write(account, now_ns)
        wait_ns, is_cut, is_spoiled = 0, False, False
        for armed, rule in self._active(RequestRule, now_ns):
            if not concerns_request(rule, asked):
                continue
            match rule:
                case Delay(at="answer") if self._strikes(armed):
                    wait_ns += self._delay_ns(rule)
                case FillFirst() if asked.is_write and has_traded(response) and self._strikes(armed):
                    wait_ns += rule.ms * NS_PER_MS
                case Cut() if not is_cut and self._strikes(armed):
                    wait_ns, is_cut = wait_ns + rule.hang_ms * NS_PER_MS, True
                case HttpError(executed=True) if not is_spoiled and self._strikes(armed):
                    response, is_spoiled = error_answer(rule), True
                case NoOrderId() if asked.is_write and response.status < 300:
                    stripped = without_order_id(response)
                    if stripped is not None and self._strikes(armed):
                        response = stripped if rule.body == "stripped" else Response(response.status, b"{}")
        return Ending(response=response, wait_ns=wait_ns, is_cut=is_cut)

    # --- old reads ---

    def _as_of_ns(self, asked: Asked, now_ns: int) -> int | None:
        """Return the past time that a read is answered from, or that its stamp shows; None: now."""
        if asked.is_stamp_read:
            return self._stamp_ns(asked.account, now_ns)
        if not asked.is_lagged_read:
            return None
        times_ns = []
        for armed, rule in self._active(ReadRule, now_ns):
            if concerns_request(rule, asked):
                true_ns = self._true_ns(armed, rule, asked.account, now_ns)
                if true_ns is not None and self._strikes(armed):
                    times_ns.append(true_ns)
        return min(times_ns, default=None)

    def _stamp_ns(self, account: str, now_ns: int) -> int | None:
        """Return what the stamp shows to an account; to a stranger the oldest of what it shows to anybody."""
        times_ns = []
        for armed, rule in self._active(ReadRule, now_ns):
            if account and rule.account not in ("", account):
                continue
            accounts = [account or rule.account] if account or rule.account else [*self._writes_ns, ""]
            known = (self._true_ns(armed, rule, each, now_ns) for each in accounts)
            true_ns = min((each for each in known if each is not None), default=now_ns)
            if rule.stamp == "stuck":
                times_ns.append(armed.starts_ns)
            elif rule.stamp == "optimistic":
                times_ns.append(min(now_ns, true_ns + rule.ahead_ms * NS_PER_MS))
            else:
                times_ns.append(true_ns)
        oldest_ns = min(times_ns, default=now_ns)
        return None if oldest_ns == now_ns else oldest_ns

    def _true_ns(self, armed: ArmedRule, rule: ReadRule, account: str, now_ns: int) -> int | None:
        """Return the time whose state the rule shows to an account; None: the present."""
        # Never before the rule began: until then the stamp told everybody that reads are fresh.
        since_ns = max(now_ns - rule.ms * NS_PER_MS, armed.starts_ns)
        if isinstance(rule, ReadLag):
            return since_ns
        written_ns = next((each for each in self._writes_ns.get(account, ()) if each > since_ns), None)
        return None if written_ns is None else written_ns - 1

    def _note_write(self, account: str, now_ns: int) -> None:
        if self.needs_history():
            writes_ns = self._writes_ns.setdefault(account, deque())
            writes_ns.append(now_ns)
            while writes_ns[0] < now_ns - WRITES_KEPT_NS:
                writes_ns.popleft()

    # --- messages of subscriptions ---

    def on_frame(self, account: str, channel: Channel, frame: bytes, now_ns: int) -> Fate:
        """Decide what happens to a message of a subscription."""
        hold_ns = 0
        for armed, rule in self._active(FrameRule, now_ns):
            if not concerns_frame(rule, account, channel.name, frame):
                continue
            match rule:
                case Gap() if channel.has_seq and self._strikes(armed):
                    return Fate(copies=0)
                case PrivateSilence() if channel.is_private and not channel.has_seq and self._strikes(armed):
                    return Fate(copies=0)
                case StaleStream() if self._strikes(armed):
                    return Fate(copies=0)
                case Duplicate() if self._strikes(armed):
                    return Fate(copies=2, hold_ns=hold_ns)
                case FrameDelay() if self._strikes(armed):
                    hold_ns += self._delay_ns(rule)
        return Fate(hold_ns=hold_ns) if hold_ns else UNTOUCHED

    # --- actions ---

    def next_due_ns(self) -> int | None:
        """Return when the next action is due."""
        return self._agenda[0][0] if self._agenda else None

    def take_due(self, now_ns: int) -> list[Due]:
        """Hand out what is due, in order, and say when it is due again."""
        due = []
        while self._agenda and self._agenda[0][0] <= now_ns:
            due_ns, number, phase = heappop(self._agenda)
            armed = self._actions[number]
            if phase == "begin":
                self._plan_ahead(armed, due_ns)
            else:
                armed.ends_left -= 1
            due.append(Due(number, armed.fault, phase))
            self._retire(armed)
        return due

    def _plan_ahead(self, armed: ArmedAction, due_ns: int) -> None:
        fault = armed.fault
        if armed.begins_left > 0:
            armed.begins_left -= 1
        if armed.begins_left:
            heappush(self._agenda, (due_ns + int(fault.every_s * NS_PER_S), armed.number, "begin"))
        if isinstance(fault, Lasting) and fault.duration_s:
            armed.ends_left += 1
            heappush(self._agenda, (due_ns + int(fault.duration_s * NS_PER_S), armed.number, "end"))

    def note_done(self, number: int, times: int = 1) -> None:
        """Count that an action took effect."""
        armed = self._known_action(number)
        armed.injected += times
        self.counts[kind_of(armed.fault)] += times

    def note_refused(self, number: int, why: str) -> None:
        """Note that the exchange refused an action."""
        armed = self._known_action(number)
        armed.refused += 1
        armed.refusal = why

    def draw(self, probability: float) -> bool:
        """Say whether something of this probability happens."""
        return probability >= 1 or self._rng.random() < probability

    def _known_action(self, number: int) -> ArmedAction:
        known = self._actions.get(number) or next(each for each in reversed(self._over) if each.number == number)
        assert isinstance(known, ArmedAction)
        return known

    def _retire(self, armed: ArmedAction) -> None:
        if not armed.begins_left and not armed.ends_left:
            self._over.append(self._actions.pop(armed.number))

    # --- what all share ---

    def _active(self, kind: type[_R], now_ns: int) -> Iterator[tuple[ArmedRule, _R]]:
        """Yield the rules of a kind that may strike now, and forget those that are over."""
        for armed in list(self._rules.values()):
            state = armed.state(now_ns)
            if state == "over":
                self._over.append(self._rules.pop(armed.number))
            elif state == "active" and isinstance(armed.fault, kind):
                yield armed, armed.fault

    def _strikes(self, armed: ArmedRule) -> bool:
        """Say whether a rule takes effect where it could, and count it."""
        fault = armed.fault
        assert isinstance(fault, Matcher)
        if not self.draw(fault.probability):
            return False
        self._count(armed)
        return True

    def _count(self, armed: ArmedRule) -> None:
        armed.injected += 1
        self.counts[kind_of(armed.fault)] += 1

    def _delay_ns(self, rule: Delay | FrameDelay) -> int:
        jitter_ns = rule.jitter_ms * NS_PER_MS
        return rule.ms * NS_PER_MS + (self._rng.randrange(jitter_ns + 1) if jitter_ns else 0)


def _in_real_time(action: AnyAction, speed: float) -> AnyAction:
    """Return an action of a scenario with its times as the wall clock measures them."""
    if speed == 1.0:
        return action
    action = msgspec.structs.replace(action, every_s=action.every_s / speed)
    if isinstance(action, Lasting):
        action = msgspec.structs.replace(action, duration_s=action.duration_s / speed)
    return action
