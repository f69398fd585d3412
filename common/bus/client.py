"""Client: asks one process of a running group one thing, and waits; for the command line."""

from __future__ import annotations

import secrets

import zmq

from common import clock
from common.bus.publisher import Identity
from common.bus.requester import Requester
from common.bus.run_dir import RunDir
from common.bus.sockets import Context
from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Answered, Ask
from common.errors import ExitCode, Failure
from common.logs import Log
from common.messages import Reply, Request
from common.registry import REQUESTS

_CONNECT_NS = NS_PER_S  # a living process on this machine is connected in milliseconds
_CONNECT_BUSY_NS = 5 * NS_PER_S  # unless the machine is very busy: one whose process is there is given longer
_POLL_MS = 10


def ask(run_dir: RunDir, owner: str, request: Request, timeout_s: float, sender: str = "cli", epoch: int = 0) -> Reply:
    """Return a process's reply; raise `Failure` (not running, timed out) where there is none.

    Whoever asks in another's name must name the epoch of its present life.
    """
    log = Log(sender)
    door = REQUESTS[type(request).__name__].door
    identity = Identity(sender, secrets.token_hex(8), epoch)
    context: Context = zmq.Context()
    requester = Requester(context, identity, [(owner, door)], run_dir.endpoint, log)
    question = Ask(
        request_id="1", owner=owner, request=request, door=door, timeout_ns=round(timeout_s * NS_PER_S)
    )  # fmt: skip
    try:
        return _wait(requester, question, run_dir)
    finally:
        requester.close()
        context.term()


def _wait(requester: Requester, question: Ask, run_dir: RunDir) -> Reply:
    poller = zmq.Poller()
    for socket in requester.sockets:
        poller.register(socket, zmq.POLLIN)
    began_ns = clock.read().mono_ns
    while requester.ask(question, clock.read().mono_ns) is not None:  # nothing was sent: no connection yet
        _check_patience(question.owner, clock.read().mono_ns - began_ns, run_dir)
        poller.poll(_POLL_MS)
    while True:
        due_ns = requester.due_ns()
        assert due_ns is not None
        poller.poll(max(0, -((clock.read().mono_ns - due_ns) // NS_PER_MS)))
        for outcome in requester.receive(clock.read().mono_ns):
            if isinstance(outcome.news, Answered):
                return outcome.news.reply
            raise Failure(f"{question.owner}: {outcome.news.reason}; it may have acted on it", ExitCode.TIMED_OUT)


def _check_patience(owner: str, waited_ns: int, run_dir: RunDir) -> None:
    """Raise `Failure` when there is no connection after as long as there should be one."""
    if waited_ns <= _CONNECT_NS:
        return
    pid = run_dir.living(owner)
    if pid is None:
        raise Failure(f"{owner} does not run", ExitCode.NOT_RUNNING)
    if waited_ns > _CONNECT_BUSY_NS:
        raise Failure(f"{owner} (process {pid}) is there and takes no requests", ExitCode.NOT_RUNNING)
