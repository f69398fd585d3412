"""Runner: a process from its first to its last moment, written once for all of them.

    run("inference", Inference)

It reads the configuration, takes the role's lock, opens the journal and the doors, gives the core its `Start`, and
turns the shell until SIGTERM or SIGINT (exit 0). How a life may end otherwise:

    configuration, missing key, damaged journal   78   one line on standard error
    the role is taken, supervisord is gone         1   one line on standard error
    broken invariant (`Die`, a failed assertion)   1   HALTED latched, crash mark, dump
    any other exception                            1   crash mark, dump; the third within a minute latches HALTED

`main()` of a process imports this module, so that importing the process's file brings in neither zmq nor asyncio.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from common import clock
from common.bus import crash
from common.bus.doors import Doors
from common.bus.heartbeat import Pulse
from common.bus.input_log import InputLog
from common.bus.journal import Journal, refusal
from common.bus.latch import CrashMarks, Latch
from common.bus.lock import RoleLock, die_with_supervisor
from common.bus.poll_loop import poll_loop
from common.bus.publisher import Identity
from common.bus.run_dir import RunDir
from common.bus.shell import Shell
from common.config import Config, load, named_run_dir
from common.effects import Core, Start
from common.errors import ConfigError, ExitCode, Failure, LogDamaged, RecordDamaged
from common.logs import LibraryHandler, Log
from common.registry import PROCESSES, Process


@dataclass(frozen=True)
class Role:
    """What a process has before its core lives: its place, and the sole right to it."""

    process: Process
    config: Config
    run_dir: RunDir
    lock: RoleLock
    latch: Latch
    marks: CrashMarks
    crashes: int  # within the last minute
    log: Log


Loop = Callable[[Role, Shell, Start], None]


def run(name: str, build_core: Callable[[], Core], loop: Loop | None = None) -> NoReturn:
    """Live one life of a process, and exit with what it ended in; `loop` is what drives the shell, if not ours."""
    try:
        role = _take_role(name)
        core = build_core()
        try:
            _live(role, core, loop or _loop_of(role.process))
        except ConfigError:
            raise
        except Exception as error:  # the one broad except of a process: whatever it was, this life is over
            crash.end(name, error, role.run_dir, role.latch, role.marks, role.log, core)
            sys.exit(ExitCode.FAILED)
    except ConfigError as error:
        _refuse(name, error, ExitCode.CONFIGURATION)
    except Failure as error:
        _refuse(name, error, error.code)
    role.log.info("stopped")
    sys.exit(ExitCode.OK)


def _take_role(name: str) -> Role:
    """Read the configuration and become the one owner of a role."""
    if not __debug__:
        raise ConfigError("assertions are switched off (python -O or PYTHONOPTIMIZE): nothing may trade without them")
    arguments = _arguments(name)
    config = load(run_dir=arguments.run_dir, file=arguments.config)
    log = Log(name, secrets=(config.keys.trade_key_id, config.keys.read_key_id))
    logging.getLogger().addHandler(LibraryHandler(log))
    run_dir = RunDir(config.run_dir)
    run_dir.prepare()
    die_with_supervisor(os.environ)
    latch, marks = Latch(run_dir), CrashMarks(run_dir, name)
    try:
        lock = RoleLock(run_dir.locks, name)
        latch.arm()
        crashes = marks.prepare(clock.read().mono_ns)
    except OSError as error:  # a full disk: it counts as a crash, or we would be started again for ever
        crash.end(name, error, run_dir, latch, marks, log)
        sys.exit(ExitCode.FAILED)
    return Role(PROCESSES[name], config, run_dir, lock, latch, marks, crashes, log)


def _arguments(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"processes.{name}", description=PROCESSES[name].job)
    parser.add_argument("--run-dir", type=named_run_dir, help="where everything of the group lives")
    parser.add_argument("--config", type=Path, help="configuration file")
    return parser.parse_args()


def _refuse(name: str, error: Exception, code: ExitCode) -> NoReturn:
    print(f"{name}: {error}", file=sys.stderr)
    sys.exit(code)


def _live(role: Role, core: Core, loop: Loop) -> None:
    """Open everything, run until asked to stop, close everything."""
    process, run_dir, now = role.process, role.run_dir, clock.read()
    epoch = role.lock.epoch
    identity = Identity(process.name, f"{epoch}-{secrets.token_hex(4)}", epoch)
    run_dir.claim(role.config.account)
    journal_id = run_dir.journal_id()
    journal = _open_journal(role) if process.journal else None
    start = Start(
        session=identity.session,
        entropy=secrets.randbits(62),
        epoch=epoch,
        config=msgspec.json.encode(role.config.settings),
        restored=journal.restored if journal is not None else (),
        latched=role.latch.reason(),
        journal_id=journal_id,
    )
    role.log.info(
        "started", session=start.session, restored=len(start.restored), crashes=role.crashes, latched=start.latched
    )
    doors = Doors(run_dir, identity, now, role.log)
    pulse = Pulse(identity, now, role.crashes)
    inputs = InputLog(run_dir.input_log(process.name), role.log)
    shell = Shell(core, doors, pulse, role.latch, inputs, role.log, journal)
    gc.collect()
    gc.freeze()  # what lives as long as the process is not searched for garbage again and again
    try:
        loop(role, shell, start)
    except RecordDamaged as error:
        assert journal is not None, "only a journal has records"
        raise refusal(run_dir.journal(process.name), journal.where(error)) from error
    finally:
        shell.close()


def _open_journal(role: Role) -> Journal:
    name, run_dir = role.process.name, role.run_dir
    path = run_dir.journal(name)
    if run_dir.has_lost_journal(name):
        raise refusal(path, f"{path}: is missing; the other journals rely on it")
    try:
        journal = Journal(path)
    except LogDamaged as error:
        raise refusal(path, str(error)) from error
    run_dir.note_begun(name)
    if journal.torn_bytes:
        role.log.warning("journal_torn", path=str(path), cut_bytes=journal.torn_bytes, records=journal.records)
    return journal


def _loop_of(process: Process) -> Loop:
    if process.streams or process.rest != "none":
        return _turn_with_exchange
    return lambda role, shell, start: poll_loop(shell, start)


def _turn_with_exchange(role: Role, shell: Shell, start: Start) -> None:
    """Turn the shell on an event loop; only these processes pay for the libraries it needs."""
    from common.bus.event_loop import event_loop
    from common.bus.link import Link

    link = Link(role.process, role.config)
    shell.link = link
    event_loop(shell, start, link)
