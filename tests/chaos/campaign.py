"""Campaign: rounds of strikes on a living group, each with its recovery, and the comparisons with the exchange."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from common import clock
from common.bus.run_dir import RunDir
from common.clock import NS_PER_S
from common.errors import Failure
from common.messages import CauseKind, Fill, Order, Settlement, State
from tests.chaos.comparison import compare
from tests.chaos.plan import Round, draw_rounds
from tests.chaos.report import TWO, Recovery, Report, crashes
from tests.chaos.strikes import Kill, Striker
from tests.chaos.watch import Watch
from tests.system.group import Group, write_settings
from tests.waiting import wait_for

SCENARIO = "dense"
SETTINGS = {
    "sync.corrections": False,
    "sync.interval_s": 5,
    # Orders come and go at a high rate: after each recovery a new one follows soon.
    "limits.order_lifetime_s": 4,
    "inference.rule_haste": 40,
    # Each of these limits has a test of its own; here they would only end the campaign.
    "limits.group_qty": 1_000,
    "limits.group_trips_per_hour": 1_000,
    "limits.daily_turnover_qty": 1_000_000,
    "limits.daily_fees_usd": 10_000,
    "limits.daily_loss_usd": 5_000,
    "limits.daily_loss_percent": 50,
    "limits.drawdown_percent": 50,
    "limits.rejects_per_min": 1_000,
    "limits.market_rejects_per_min": 1_000,
    "limits.unknown_orders": 1_000,
    "limits.unknown_age_s": 3_600,
}
RECOVERY_S = 120.0  # then it did not recover
SLOW_S = 5.0  # a recovery that takes longer is told in detail
AT_REST_S = 90.0  # an unknown order is proven after the signature's window, 15 s, and 5 s more
COMPARE_EVERY_KILLS = 25
HALTS_BY_DESIGN = (CauseKind.TRIES_EXHAUSTED, CauseKind.ORDER_GROUP, CauseKind.LOSS_LIMIT)

Say = Callable[[str], None]


class NotRecovered(Exception):
    """The trader did not come back, or came back wrong."""


class Campaign:
    """One campaign on a group that it starts; `stop` it at the end."""

    def __init__(self, run_dir: Path, seed: int, kills: int, say: Say) -> None:
        self.group = Group(run_dir)
        self.report = Report(seed, wanted=kills)
        self._rounds = draw_rounds(seed, kills)
        self._kills = kills
        self._say = say
        self._next_comparison = COMPARE_EVERY_KILLS
        self._end_ns = 0

    def run(self, minutes: float) -> Report:
        """Strike until all kills are done or time is up; the report's findings say what is wrong."""
        write_settings(self.group.run_dir, SETTINGS)
        self.group.start(SCENARIO)
        self._end_ns = clock.mono_ns() + round(minutes * 60 * NS_PER_S)
        with Watch(RunDir(self.group.run_dir)) as watch:
            striker = Striker(self.group, watch, SCENARIO)
            try:
                self._play(striker, watch)
            except (NotRecovered, AssertionError, Failure, OSError) as error:
                self.report.findings.append(f"{type(error).__name__}: {error}")
            except KeyboardInterrupt:
                self.report.findings.append("interrupted: what is told below was not compared at the end")
            self._sum_up(striker)
        return self.report

    def stop(self) -> None:
        """Stop the group."""
        self.group.stop()

    # --- rounds ---

    def _play(self, striker: Striker, watch: Watch) -> None:
        self._recover(striker, watch, [])
        for each in self._rounds:
            if clock.mono_ns() > self._end_ns:
                self._say("time is up")
                break
            kills = self._strike(each, striker, watch)
            recovery = self._recover(striker, watch, kills)
            who = kills[0].victim if len(kills) == 1 else TWO
            self.report.recoveries.setdefault(who, []).append(recovery)
            self._tell(striker, watch, each, kills, recovery)
            self._collect()
            if striker.kills.total() >= self._next_comparison:
                self._next_comparison += COMPARE_EVERY_KILLS
                self._compare(striker, watch)
        self._compare(striker, watch)

    def _strike(self, each: Round, striker: Striker, watch: Watch) -> list[Kill]:
        watch.listen(each.calm_s)
        for fault in each.faults:
            striker.fault(fault)
        if each.freeze is not None:
            striker.freeze(each.freeze)
        watch.listen(each.pause_s)
        hold = None if each.hold is None else striker.fault(each.hold)
        watch.story.clear()
        first, *others = each.victims
        kills = [striker.kill(first, hold), *map(striker.kill, others)]
        watch.listen(each.aftermath_s)
        return kills

    def _recover(self, striker: Striker, watch: Watch, kills: list[Kill]) -> Recovery:
        """End all faults, and wait until the trader trades again and everybody is back."""
        struck_ns = max([kill.at_ns for kill in kills], default=clock.mono_ns())
        before_ns = clock.mono_ns()
        if striker.has_faults:
            striker.clear()
            struck_ns = max(struck_ns, before_ns)
        back_ns: list[int] = []

        def is_over() -> bool:
            if not back_ns and all(striker.is_back(kill) for kill in kills):
                back_ns.append(clock.mono_ns())
            is_halted = watch.trader is not None and watch.trader.state is State.HALTED
            return is_halted or (bool(back_ns) and watch.trades_since(struck_ns))

        while True:
            if not watch.until(is_over, RECOVERY_S):
                raise NotRecovered(f"not trading {RECOVERY_S:.0f} s after {self._words(kills)}: {self._causes()}")
            if watch.state != State.HALTED:
                break
            self._restart_after_halt(watch)  # the clock goes on: the halt is part of the recovery
        striker.end_start()
        return Recovery(
            back_s=_seconds(back_ns[0] - struck_ns),
            trading_s=_seconds(watch.trading_ns - struck_ns),
            order_s=_seconds(watch.acknowledged_ns - struck_ns),
            struck_ns=struck_ns,
        )

    def _restart_after_halt(self, watch: Watch) -> None:
        """Do what an operator does, where a halt is what DESIGN demands."""
        assert watch.trader is not None
        causes = ", ".join(f"{cause.kind}: {cause.detail}" for cause in watch.trader.causes)
        if not all(cause.kind in HALTS_BY_DESIGN for cause in watch.trader.causes):
            raise NotRecovered(f"halted: {causes}")
        self.report.halts.append(causes)
        self.group.must("clear-halt", "--reason", "campaign")
        if not watch.until(lambda: watch.state != State.HALTED, RECOVERY_S):  # or it is taken for another halt
            raise NotRecovered(f"halted {RECOVERY_S:.0f} s after it was cleared: {causes}")
        self.group.must("start")

    def _causes(self) -> str:
        state = self.group.status().get("state_machine", {})
        return f"{state.get('current_state', 'no status')} {state.get('causes')} {state.get('calibration_steps')}"

    @staticmethod
    def _words(kills: list[Kill]) -> str:
        return "killing " + ", ".join(kill.victim for kill in kills) if kills else "the start"

    # --- comparing ---

    def _collect(self) -> None:
        """Hear every event while its owner still keeps it."""
        self.report.orders = len({row.client_order_id for row in self.group.events("execution", "order", Order)})
        self.report.fills = len(self.group.events("tracking", "fill", Fill))
        self.report.settlements = len(self.group.events("tracking", "settlement", Settlement))

    def _compare(self, striker: Striker, watch: Watch) -> None:
        """Pause, wait until nothing is unknown, compare with the exchange, and go on."""
        self.group.wait_ready()
        self.group.must("pause", "--reason", "comparison")
        try:
            wait_for(lambda: not compare(self.group), AT_REST_S)
        except AssertionError:
            self.report.findings += compare(self.group)
            raise NotRecovered("the books differ") from None
        self.report.comparisons += 1
        self._collect()
        self._say(f"compared after {striker.kills.total()} kills: equal ({self.report.orders} orders, "
                  f"{self.report.fills} fills)")  # fmt: skip
        self.group.must("resume")
        watch.pump(0)

    # --- telling ---

    def _tell(self, striker: Striker, watch: Watch, each: Round, kills: list[Kill], recovery: Recovery) -> None:
        what = ", ".join(kill.victim + (" in mid-request" if kill.mid_request else "") for kill in kills)
        faults = [str(fault.__struct_config__.tag) for fault in each.faults]
        frozen = [f"froze {each.freeze.victim}"] if each.freeze else []
        beside = f" with {', '.join([*faults, *frozen])}" if faults or frozen else ""
        done = f"{striker.kills.total():>4}/{self._kills}"
        self._say(f"{done}  {watch.state:<8} {recovery.total_s:5.1f} s after {what}{beside} ({recovery})")
        if recovery.total_s > SLOW_S:
            for at_ns, words in watch.story:
                self._say(f"{'':<16}{(at_ns - recovery.struck_ns) / NS_PER_S:+7.2f} s  {words}")

    def _sum_up(self, striker: Striker) -> None:
        report = self.report
        report.kills, report.mid_request, report.freezes = striker.kills, striker.mid_request, striker.freezes
        report.asked, report.injected = striker.asked, striker.injected
        report.findings += crashes(self.group.run_dir)


def _seconds(ns: int) -> float:
    return max(0, ns) / NS_PER_S


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, file=sys.stdout, flush=True)
