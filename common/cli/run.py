"""What scripts/run does: start the group of a run directory, say where to look, follow it until Ctrl-C, stop it."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import click

from common.bus.run_dir import RunDir
from common.cli import program
from common.cli.bus_client import ask_status, facts_of
from common.cli.context import Context
from common.cli.follow import LogFollower
from common.cli.readiness import wait_until_ready
from common.cli.supervision import Supervisor, open_pid, wait_until_serving
from common.config import DEFAULT_RUN_DIR, PROJECT_DIR, Config, find_file, named_run_dir
from common.endpoints import PAPER_FILE, PaperExchange, endpoints, read_key, trade_key
from common.errors import ExitCode, Failure
from common.server.state_dir import StateDir

_FOLLOW_S = 0.5
_MAY_REST = (
    "Orders may rest at the exchange until their lifetime is over: `trader stop` first would have taken them away, "
    "`trader halt` does it now."
)


@click.command(epilog=program.exit_codes())
@click.option("--run-dir", metavar="DIR", type=named_run_dir, help="Where everything of this group lives [./run].")
@click.option("--scenario", metavar="NAME", help="The paper exchange's markets: a shipped scenario or a TOML file.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file for this run directory.")
@click.option(
    "--detach",
    is_flag=True,
    help="Return as soon as it is READY, or as you left it (stopped, paused); exit 6 if something keeps it from that.",
)
@click.option("--stop", is_flag=True, help="Stop the group of this run directory and wait.")
def command(run_dir: Path | None, scenario: str | None, file: Path | None, detach: bool, stop: bool) -> None:
    """Start the trader group, show what it does, and stop it cleanly at Ctrl-C.

    Several groups run side by side when each has its own run directory.

    Ctrl-C and --stop end the processes and leave the orders that rest at Kalshi, until their lifetime is over: `trader
    stop` first takes them away.

    Example: scripts/run --run-dir /tmp/trader-2 --scenario quiet --detach
    """
    scenario = _resolved(scenario)
    context = Context(run_dir, file, {"paper.scenario": scenario} if scenario else {})
    if stop:
        found = context.find()
        supervisor = Supervisor(found.root)
        words = stopped_words(found)
        click.echo(words if supervisor.stop() else f"Nothing runs in {supervisor.run_dir}.")
        return
    config = context.load()
    supervisor = Supervisor(config.run_dir)
    RunDir(config.run_dir).check_account(config.account)
    if (active := _active_account(config)) and supervisor.pid() is None:
        click.echo(active)
    if not supervisor.start({"TRADER_PAPER_SCENARIO": scenario} if scenario else {}, file):
        _meet(config, supervisor, scenario, file, detach)
        return
    click.echo(f"The trader group starts in {config.run_dir}.")
    try:
        _attend(config, supervisor, detach)
    except KeyboardInterrupt:
        _stop_after_interrupt(supervisor)
    except NotReady:
        raise
    except Failure:
        supervisor.stop()
        raise


def _meet(config: Config, supervisor: Supervisor, scenario: str | None, file: Path | None, detach: bool) -> None:
    """Say where a group that runs already is, and with `detach` wait until it trades; refuse to look obeyed."""
    file_before = find_file(None, config.run_dir, {})
    is_other_file = file is not None and (file_before is None or file.resolve() != file_before.resolve())
    founded = StateDir.origin((config.run_dir / PAPER_FILE).parent)
    is_other_scenario = scenario is not None and scenario != founded.get("scenario")
    if idle := [name for name, is_idle in (("--scenario", is_other_scenario), ("--config", is_other_file)) if is_idle]:
        raise click.UsageError(
            f"the trader group already runs in {config.run_dir}, and {' and '.join(idle)} would change nothing: "
            f"it keeps what it was started with until it is stopped"
        )
    click.echo(f"The trader group already runs in {config.run_dir}.")
    if detach:
        _attend(config, supervisor, detach)
    else:
        click.echo(where_to_look(config, supervisor, follows=False))


class NotReady(Failure):
    """The group runs and goes on trying, but it does not trade."""

    def __init__(self, waits_for: str) -> None:
        super().__init__(waits_for, ExitCode.UNHEALTHY)


def _attend(config: Config, supervisor: Supervisor, detach: bool) -> None:
    """Wait until the group trades, show where it is, and follow it unless it is left alone."""
    if not detach:  # a closed terminal or SIGTERM ends it as Ctrl-C does
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
    click.echo(where_to_look(config, supervisor, follows=not detach))
    readiness = wait_until_ready(supervisor)
    click.echo(f"{readiness.text}\n")
    if detach and readiness.waits_for:
        raise NotReady(readiness.waits_for)
    if readiness.waits_for:
        click.echo(f"Waiting: {readiness.waits_for}")
    if not detach:
        _follow(supervisor)


def _active_account(config: Config) -> str:
    """Return which account and host will be active, "" for paper; raise `ConfigError` where a key is missing."""
    exchange = config.settings.exchange
    if exchange.environment == "paper":
        return ""
    trades = exchange.mode == "trade"
    key = trade_key(config) if trades else read_key(config)
    return (
        f"Environment {exchange.environment}, {'trading' if trades else 'observing, nothing is sent'}.\n"
        f"  account    the owner of {key.path}, subaccount {exchange.subaccount}\n"
        f"  host       {endpoints(config).rest_url}"
    )


def _resolved(scenario: str | None) -> str | None:
    """Return a scenario as the processes, which live in another directory, find it."""
    return str(Path(scenario).resolve()) if scenario and scenario.endswith(".toml") else scenario


def where_to_look(config: Config, supervisor: Supervisor, follows: bool) -> str:
    """Wait until the group serves; return what a person needs to know of it."""
    scripts_run = _relative(PROJECT_DIR / "scripts/run")
    is_default = config.run_dir == DEFAULT_RUN_DIR
    where = "" if is_default else f" --run-dir {shlex.quote(str(config.run_dir))}"
    supervisor_file = PROJECT_DIR / "supervisord.conf" if is_default else supervisor.config_file
    lines = [
        "",
        f"  watch      {_relative(PROJECT_DIR / '.venv/bin/trader')}{where} status --watch",
        f"  logs       {_relative(config.run_dir)}/logs",
        f"  processes  {_relative(PROJECT_DIR / '.venv/bin/supervisorctl')} -c {_relative(supervisor_file)} status",
        f"  stop       {'Ctrl-C here, or ' if follows else ''}{scripts_run}{where} --stop",
        "",
    ]
    if config.settings.exchange.environment == "paper":
        lines[1:1] = _paper_lines(wait_until_serving(config, supervisor), config)
    return "\n".join(lines)


def _paper_lines(paper: PaperExchange, config: Config) -> list[str]:
    return [
        f"  exchange   {paper.rest}",
        f"  stream     {paper.ws}",
        f"  API key    {_relative(config.run_dir)}/exchange/exchange.json has its id and file",
        f"  try        curl -s {paper.rest}/markets/{paper.tickers[0]}/orderbook",
    ]


def _relative(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _follow(supervisor: Supervisor) -> None:
    """Print the logs until the group ends."""
    pid = supervisor.pid()
    if pid is None:
        return
    follower = LogFollower(supervisor.run_dir / "logs")
    with open_pid(pid) as watched:
        while not watched.wait(_FOLLOW_S):
            for line in follower.lines():
                click.echo(line)
    click.echo("The trader group was stopped.")


def _stop_after_interrupt(supervisor: Supervisor) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    click.echo("\nStopping ...")
    words = stopped_words(RunDir(supervisor.run_dir))
    supervisor.stop()
    click.echo(words)


def stopped_words(run_dir: RunDir) -> str:
    """Return what is to be said once the group is stopped; asked for while it lives, as then it knows what rests."""
    return f"Stopped. {_MAY_REST}" if _may_leave_orders(run_dir) else "Stopped."


def _may_leave_orders(run_dir: RunDir) -> bool:
    """Say whether orders may rest at an exchange that goes on without us, as the paper exchange does not."""
    account = run_dir.account()
    if not account or account.startswith("paper"):
        return False
    try:
        return facts_of(ask_status(run_dir)).portfolio.open_orders != ()
    except Failure:  # nobody tells
        return True


main = program.program(command, "scripts/run")

if __name__ == "__main__":
    main()
