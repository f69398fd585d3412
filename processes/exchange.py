"""exchange: the paper exchange, a server that speaks Kalshi's REST and WebSocket protocol. Not on the bus.

As a process of the group (no --state) it does what the configuration says and lives in the run directory; outside of
paper there is nothing to do and it exits with 0. With --state it serves whatever the configuration is.

Reads   a scenario, its own log
Writes  exchange.log and what else its state directory holds; one JSON line on standard output once it listens
Holds   everything: markets, books, accounts, orders; a restart with the same directory continues where it was
Stops   on SIGTERM or SIGINT, at once, with a checkpoint; SIGKILL loses nothing that was acknowledged
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from common import config
from common.bus.lock import die_with_supervisor
from common.endpoints import PAPER_FILE, PaperExchange
from common.errors import ConfigError, ExitCode, Expected, Failure, LogDamaged
from common.log.files import Writer, replace
from common.logs import LibraryHandler, Log
from common.paper.control import PREFIX as CONTROL_PREFIX
from common.paper.faulty_venue import FaultyVenue
from common.paper.keys import WS_PATH, AccountBook
from common.paper.scenario import load_scenario
from common.paper.store import KIND
from common.paper.venue import Venue
from common.server.app import Journal, Server
from common.server.state_dir import StateDir

HOST = "127.0.0.1"
DEFAULT_SCENARIO = "default"
REPLAY_SCENARIO = "replay"  # beside a recording


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="exchange", description="A paper exchange that speaks Kalshi's protocol.")
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="what it keeps; made if missing (without it: all is as configured)"
    )
    parser.add_argument("--port", type=int, help="0: a free one at the first start, then the same again")
    parser.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    parser.add_argument("--scenario", help=f"a shipped name or a TOML file (default: {DEFAULT_SCENARIO})")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="a recorded session to play (then the default scenario is empty)"
    )
    parser.add_argument("--seed", type=int, help="of everything that looks random (default: 0)")
    parser.add_argument("--speed", type=float, help="compresses the scenario's schedule and arrivals (default: 1)")
    arguments = parser.parse_args(argv)
    given = [name for name in ("port", "scenario", "replay", "seed", "speed") if getattr(arguments, name) is not None]
    if given and arguments.state is None:
        parser.error(f"--{given[0]} goes with --state; without it the configuration says everything ([paper])")
    arguments.port, arguments.seed = arguments.port or 0, arguments.seed or 0
    arguments.speed = 1.0 if arguments.speed is None else arguments.speed
    return arguments


def _configure(arguments: argparse.Namespace) -> bool:
    """Fill in what the configuration says; return False where it wants no paper exchange."""
    loaded = config.load()
    paper = loaded.settings.paper
    arguments.state = (loaded.run_dir / PAPER_FILE).parent
    arguments.scenario, arguments.port = paper.scenario, paper.port
    is_named = loaded.origins["paper.scenario"] != "default"
    if paper.replay:
        arguments.replay = Path(paper.replay)
        if not is_named:
            arguments.scenario = REPLAY_SCENARIO
    elif not is_named:
        founded = StateDir.origin(arguments.state)
        if "replay" not in founded:
            arguments.scenario = founded.get("scenario", paper.scenario)
    arguments.seed, arguments.speed = paper.seed, paper.speed
    return loaded.settings.exchange.environment == "paper"


def _open_venue(arguments: argparse.Namespace, state: StateDir) -> tuple[Venue, Journal]:
    """Recover the directory's exchange, or found a new one; raise `ConfigError` where its log is damaged."""
    scenario_name = arguments.scenario or (REPLAY_SCENARIO if arguments.replay else DEFAULT_SCENARIO)
    origin = {"scenario": scenario_name, "seed": str(arguments.seed), "speed": str(arguments.speed)}
    if arguments.replay:
        origin["replay"] = str(arguments.replay.absolute())
    accounts = AccountBook()
    path = state.log_path
    try:
        writer, found = Writer.open(path, KIND) if path.exists() else (None, None)
        venue = Venue.recover(found.records, accounts, origin=origin) if found and found.records else None
    except LogDamaged as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise ConfigError(f"{where}{error}; `trader paper reset` throws this exchange away and begins anew") from error
    if venue is None:
        venue = Venue.found(
            load_scenario(scenario_name),
            accounts,
            seed=arguments.seed,
            speed=arguments.speed,
            recording=arguments.replay.absolute() if arguments.replay else None,
            origin=origin,
        )
    for table in venue.flow.scenario.account:
        state.add_key(table.name, accounts)
    if writer is not None:
        writer.close()
    journal = Journal(path, replace(path, KIND, [venue.checkpoint()]))
    venue.record = journal.record
    return venue, journal


def _ready(venue: Venue, state: StateDir, host: str, port: int) -> PaperExchange:
    account = venue.flow.scenario.account[0].name
    return PaperExchange(
        rest=f"http://{host}:{port}/trade-api/v2",
        ws=f"ws://{host}:{port}{WS_PATH}",
        control=f"http://{host}:{port}{CONTROL_PREFIX}",
        key_id=state.settings.key_ids[account],
        private_key_path=str(state.key_path(account).absolute()),
        control_token_path=str(state.token_path.absolute()),
        tickers=venue.tickers(),
    )


async def _serve(arguments: argparse.Namespace, state: StateDir, log: Log) -> ExitCode:
    token = state.token()
    venue, journal = _open_venue(arguments, state)
    front = FaultyVenue(venue, arguments.seed)
    server = Server(front, journal, log, token)
    try:
        port = await server.listen(arguments.host, arguments.port or state.settings.port, arguments.port != 0)
        state.keep_port(port)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        front.advance(time.time_ns())
        line = msgspec.json.encode(_ready(venue, state, arguments.host, port))
        state.write_ready(line)
        print(line.decode(), flush=True)
        log.info("listening", port=port, markets=len(venue.exchange.markets), orders=len(venue.exchange.orders))
        return await server.run()
    finally:
        await server.close()


def _run(arguments: argparse.Namespace, log: Log) -> ExitCode:
    if arguments.state is None and not _configure(arguments):
        log.info("not_needed", reason="the environment is not paper")
        return ExitCode.OK
    if not 0 <= arguments.port <= 65_535:
        raise ConfigError(f"--port {arguments.port}: allowed is 0 to 65535")
    state = StateDir.open(arguments.state)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(arguments, state, log))
    finally:
        state.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exchange; return the exit code."""
    arguments = _arguments(argv)
    log = Log("exchange")
    logging.getLogger().addHandler(LibraryHandler(log))
    try:
        die_with_supervisor(os.environ)
        return _run(arguments, log)
    except ConfigError as error:
        print(f"exchange: {error}", file=sys.stderr)
        return ExitCode.CONFIGURATION
    except Failure as error:
        print(f"exchange: {error}", file=sys.stderr)
        return error.code
    except Expected as error:
        print(f"exchange: {error}", file=sys.stderr)
        return ExitCode.FAILED


if __name__ == "__main__":
    sys.exit(main())
