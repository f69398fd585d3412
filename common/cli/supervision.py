"""Supervision: the group of processes of one run directory, started, asked and stopped through supervisord.

The run directory holds everything of a group: `supervisord.conf` (rendered from the top-level one), `supervisor.sock`,
`supervisord.pid`, `logs/`, and a directory or file for what each process keeps. It is readable by its owner only.
"""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, cast

from common.config import PROJECT_DIR, Config
from common.endpoints import NoPaperExchange, PaperExchange, read_paper_exchange
from common.errors import ConfigError, ExitCode, Failure

SOURCE = PROJECT_DIR / "supervisord.conf"
GROUP = "trader"

START_S = 60.0  # the exchange serves within a second or two; a busy machine or a long log to replay takes longer
STOP_S = 60.0  # more than the longest stopwaitsecs
_POLL_S = 0.1
_ANSWER_S = 15.0  # supervisord answers at once, unless the machine is very busy
_CHANGE_S = STOP_S + _ANSWER_S  # it answers when all of them are gone, or there
_LOOK_S = 2.0  # for an answer of supervisord that is good to have, and no more
_LIVES_MAX = 3  # a process that was started again this often while we wait will not come up


def render(source: str, project: Path, run_dir: Path, environment: Mapping[str, str]) -> str:
    """Return the supervisord configuration of a run directory, from the top-level file's text.

    `environment` is handed to every process besides the run directory itself.
    """
    for path in (project, run_dir):
        if "%" in str(path) or '"' in str(path):
            raise ConfigError(f"{path}: a path with % or \" cannot stand in supervisord's configuration")
    added = "".join(f',{name}="{_quoted(value)}"' for name, value in sorted(environment.items()))
    run_dir_line = 'environment=TRADER_RUN_DIR="%(here)s/run"'
    if run_dir_line not in source:
        raise ConfigError(f"{SOURCE}: is not the project's own: {run_dir_line} is missing; put the file back (git)")
    text = source.replace(run_dir_line, run_dir_line + added)
    return text.replace("%(here)s/run", str(run_dir)).replace("%(here)s", str(project))


def run_as(user: int, text: str) -> str:
    """Return a configuration that says root is meant, where it is root: supervisord finds that critical otherwise."""
    return text.replace("\n[supervisord]\n", "\n[supervisord]\nuser=root\n") if user == 0 else text


def _quoted(value: str) -> str:
    if '"' in value or "\n" in value:
        raise ConfigError(f"{value!r}: cannot be handed to the processes (quote or line break)")
    return value.replace("%", "%%")


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket, with a timeout: supervisord's own waits for ever."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over such a connection, one a transport."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._unix = _UnixConnection(path, timeout_s)

    def make_connection(self, host: object) -> HTTPConnection:
        return self._unix

    def close(self) -> None:
        self._unix.close()


class Supervisor:
    """The supervisord of one run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.config_file = run_dir / "supervisord.conf"
        self.socket = run_dir / "supervisor.sock"
        self._logs_before: dict[str, os.stat_result] = {}  # what was written before we started something

    @contextmanager
    def _connected(self, timeout_s: float = _ANSWER_S) -> Iterator[Any]:
        """Talk with supervisord; raise `Failure` when it lives and does not answer in time."""
        transport = _UnixTransport(self.socket, timeout_s)
        try:
            yield xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor
        except (TimeoutError, BlockingIOError) as error:  # the second: as many wait for it already as may
            file = self.run_dir / "supervisord.pid"
            pid = file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else "?"
            raise Failure(
                f"supervisord (process {pid}, of {self.run_dir}) does not answer within {timeout_s:.0f} s; "
                f"if somebody stopped it, `kill -CONT {pid}` lets it go on",
                ExitCode.TIMED_OUT,
            ) from error
        finally:
            transport.close()

    def pid(self) -> int | None:
        """Return the process id of the running supervisord, or None."""
        try:
            with self._connected() as supervisor:
                return cast(int, supervisor.getPID())
        except (FileNotFoundError, ConnectionRefusedError):
            return None

    def processes(self, timeout_s: float = _ANSWER_S) -> list[dict[str, Any]]:
        """Return what supervisord knows of each process (name, statename, exitstatus, pid, start, ...)."""
        with self._connected(timeout_s) as supervisor:
            return cast(list[dict[str, Any]], supervisor.getAllProcessInfo())

    def stop_process(self, name: str) -> None:
        """Stop one process and wait until it is gone."""
        with self._connected(_CHANGE_S) as supervisor:
            supervisor.stopProcess(f"{GROUP}:{name}", True)

    def stop_processes(self) -> None:
        """Stop every process, and wait until all are gone; supervisord itself stays."""
        with self._connected(_CHANGE_S) as supervisor:
            supervisor.stopProcessGroup(GROUP, True)

    def start_processes(self) -> None:
        """Start every process that does not run."""
        self._note_logs()
        with self._connected(_CHANGE_S) as supervisor:
            supervisor.startProcessGroup(GROUP, True)

    def start_process(self, name: str) -> None:
        """Start one process that does not run."""
        with self._connected(_CHANGE_S) as supervisor:
            supervisor.startProcess(f"{GROUP}:{name}", True)

    def start(self, environment: Mapping[str, str], configuration: Path | None = None) -> bool:
        """Start the group unless it runs already; return whether it was started by this call.

        `configuration` becomes the run directory's own, so that every later command finds the same.
        """
        self._make_directory()
        with (self.run_dir / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.pid() is not None:
                return False
            text = render(SOURCE.read_text(encoding="utf-8"), PROJECT_DIR, self.run_dir, environment)
            self.config_file.write_text(run_as(os.getuid(), text), encoding="utf-8")
            if configuration is not None:
                self._link_configuration(configuration)
            self._note_logs()
            self._spawn()
        return True

    def _note_logs(self) -> None:
        self._logs_before = {path.name: path.stat() for path in (self.run_dir / "logs").glob("*.log")}

    def log_text(self, name: str) -> str:
        """Return a process's log; if we started it, only what was said since: earlier errors are not of this start."""
        path = self.run_dir / "logs" / f"{name}.log"
        before = self._logs_before.get(path.name)
        try:
            with path.open("rb") as file:
                now = os.fstat(file.fileno())
                if before is not None and before.st_ino == now.st_ino and before.st_size <= now.st_size:
                    file.seek(before.st_size)  # otherwise it was rotated
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _make_directory(self) -> None:
        os.umask(0o077)
        try:
            (self.run_dir / "logs").mkdir(parents=True, exist_ok=True)
            self.run_dir.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"run directory {self.run_dir}: {error}") from error

    def _link_configuration(self, file: Path) -> None:
        link = self.run_dir / "trader.toml"
        if file.resolve() == link.absolute():
            return
        if link.exists() and not link.is_symlink():
            raise ConfigError(f"{link}: this run directory has a configuration of its own; move it away first")
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())

    def _spawn(self) -> None:
        """Start supervisord in the background and wait until it answers."""
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self.config_file)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise Failure(f"supervisord did not start: {said}", ExitCode.FAILED)
        deadline = time.monotonic() + START_S
        while self.pid() is None:
            if time.monotonic() > deadline:
                raise Failure(f"supervisord did not answer; see {self.run_dir}/logs", ExitCode.TIMED_OUT)
            time.sleep(_POLL_S)

    def stop(self) -> bool:
        """Stop the group and wait until all of it is gone; return False where nothing ran."""
        pid = self.pid()
        if pid is None:
            return False
        with open_pid(pid) as watched:
            with self._connected() as supervisor:
                supervisor.shutdown()
            if not watched.wait(STOP_S):
                raise Failure(f"supervisord {pid} still runs after {STOP_S:.0f} s", ExitCode.TIMED_OUT)
        return True


class WatchedProcess:
    """A process of which the end can be waited for without being its parent."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, timeout_s: float) -> bool:
        """Return True as soon as the process has ended, False when time is up."""
        if self._descriptor is None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))


@contextmanager
def open_pid(pid: int) -> Iterator[WatchedProcess]:
    """Watch a process by its id; one that is gone already counts as ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield WatchedProcess(None)
        return
    try:
        yield WatchedProcess(descriptor)
    finally:
        os.close(descriptor)


def is_serving(paper: PaperExchange) -> bool:
    """Say whether the paper exchange answers."""
    try:
        with urllib.request.urlopen(f"{paper.rest}/exchange/status", timeout=2) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:  # refused, reset, timed out, and every HTTP error: not yet
        return False


def wait_until_serving(config: Config, supervisor: Supervisor) -> PaperExchange:
    """Return the paper exchange as soon as it answers; raise `Failure` when it cannot or does not."""
    deadline = time.monotonic() + START_S
    lives = set()
    while time.monotonic() < deadline:
        row = next(row for row in supervisor.processes() if row["name"] == "exchange")
        lives.add(row["pid"])
        if row["statename"] in ("EXITED", "FATAL") or len(lives) > _LIVES_MAX:
            code = ExitCode.CONFIGURATION if row["exitstatus"] == ExitCode.CONFIGURATION else ExitCode.FAILED
            raise Failure(f"the exchange does not start:\n{last_words(supervisor, 'exchange')}", code)
        paper = find_paper_exchange(config.run_dir)
        if paper is not None and is_serving(paper):
            return paper
        time.sleep(_POLL_S)
    words = last_words(supervisor, "exchange")
    raise Failure(f"the exchange does not serve after {START_S:.0f} s:\n{words}", ExitCode.TIMED_OUT)


def find_paper_exchange(run_dir: Path) -> PaperExchange | None:
    """Return what the paper exchange says about itself, or None where none has started yet."""
    try:
        return read_paper_exchange(run_dir)
    except NoPaperExchange:
        return None


def refusals(supervisor: Supervisor) -> dict[str, str]:
    """Return who refused to start and stays down, with its reason; nobody where supervisord does not tell at once."""
    try:
        rows = supervisor.processes(_LOOK_S)
    except (Failure, OSError, HTTPException, xmlrpc.client.Error):
        return {}
    return {
        row["name"]: last_words(supervisor, row["name"], lines=1).removeprefix(f"{row['name']}: ")
        for row in rows
        if row["statename"] == "EXITED" and row["exitstatus"] == ExitCode.CONFIGURATION
    }


def start_words(supervisor: Supervisor, name: str) -> str:
    """Say how a process that refused to start is started again."""
    program, file = PROJECT_DIR / ".venv/bin/supervisorctl", supervisor.config_file
    return f"once repaired: {shlex.join([str(program), '-c', str(file), 'start', f'{GROUP}:{name}'])}"


def last_words(supervisor: Supervisor, process: str, lines: int = 15) -> str:
    """Return the end of a process's log, without what it said while all was well."""
    said = [line for line in supervisor.log_text(process).splitlines()[-lines:] if '"level":"info"' not in line]
    return "\n".join(said) or f"({supervisor.run_dir}/logs/{process}.log tells of nothing wrong)"
