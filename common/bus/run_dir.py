"""The run directory: where everything that a group keeps and listens on is found, and that it is nobody else's.

All sockets, locks, journals and latches of a group lie below one directory of mode 0700. `endpoint` is the single place
where a process's address is made.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.config import UNIX_PATH_MAX
from common.errors import ConfigError
from common.log.files import write_file

Door = Literal["pub", "main", "control"]

_JOURNAL_ID = re.compile(rb"[0-9a-f]{8}")
BEGIN_ANEW = (
    "to begin anew, stop the group, then on the paper exchange `trader paper reset`, elsewhere move the journals away "
    "as a whole: the books are then opened from what the exchange says, and the counts of the day begin at zero"
)
PRIVATE_UMASK = 0o077  # libzmq makes its sockets with the process's umask, and journals hold orders


@dataclass(frozen=True)
class RunDir:
    """The places of one group."""

    root: Path

    @property
    def sockets(self) -> Path:
        """Return where the doors are."""
        return self.root / "sockets"

    @property
    def locks(self) -> Path:
        """Return where the roles' locks and epochs are."""
        return self.root / "locks"

    @property
    def journals(self) -> Path:
        """Return where the journals are."""
        return self.root / "journals"

    @property
    def inputs(self) -> Path:
        """Return where the input logs are."""
        return self.root / "inputs"

    @property
    def tapes(self) -> Path:
        """Return where the tapes are."""
        return self.root / "tapes"

    @property
    def crashes(self) -> Path:
        """Return where crash marks and dumps are."""
        return self.root / "crashes"

    def living(self, process: str) -> int | None:
        """Return the id of the process that holds a role as far as its lock's file tells; None when it is gone."""
        try:
            pid = int((self.locks / process).read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if Path(f"/proc/{pid}").exists() else None

    def journal(self, process: str) -> Path:
        """Return a process's journal."""
        return self.journals / f"{process}.log"

    def has_lost_journal(self, process: str) -> bool:
        """Say whether a process's journal was begun and is there no longer."""
        return self._begun(process).exists() and not self.journal(process).exists()

    def note_begun(self, process: str) -> None:
        """Remember that a process has a journal: the others rely on what it told from it, and one alone cannot go."""
        self._keep_first(self._begun(process), b"")

    def _begun(self, process: str) -> Path:
        return self.journals / f"{process}.begun"

    def input_log(self, process: str) -> Path:
        """Return a process's input log."""
        return self.inputs / f"{process}.log"

    def journal_id(self) -> str:
        """Return the random id of this directory's journals, made once; our client order ids carry it.

        It lies with the journals: without them, the orders that they knew are not ours. With another id, or none, ours
        would be foreign: raise `ConfigError` rather than guess. To be asked for before a journal is begun.
        """
        path = self.journals / "id"
        # In this order: another process that begins its journal just now has made the id before.
        if any(self.journals.glob("*.log")) and not path.exists():
            raise ConfigError(f"{path}: is missing, and with it the beginning of our orders' names; {BEGIN_ANEW}")
        self._keep_first(path, secrets.token_hex(4).encode())
        found = path.read_bytes()
        if not _JOURNAL_ID.fullmatch(found):
            raise ConfigError(f"{path}: does not hold the id of these journals, eight of 0-9 and a-f: {found[:40]!r}")
        return found.decode("ascii")

    def claim(self, account: str) -> None:
        """Keep with the journals whose orders and money they tell of; raise `ConfigError` where it is another account.

        What the operator wanted of one account (trade, say) must not be taken for a wish about another.
        """
        self._keep_first(self.journals / "account", account.encode())
        self.check_account(account)

    def account(self) -> str:
        """Return which account the journals tell of; "" where there are none."""
        path = self.journals / "account"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def check_account(self, account: str) -> None:
        """Raise `ConfigError` if there are journals and they tell of another account."""
        path = self.journals / "account"
        found = self.account() if path.exists() else account
        if found != account:
            raise ConfigError(
                f"run directory {self.root}: its journals are of {found}, and the configuration says {account}: "
                f"choose another run directory (--run-dir)"
            )

    def _keep_first(self, path: Path, content: bytes) -> None:
        """Write a file unless it is there; where several processes do, the first one counts."""
        while not path.exists():
            made = path.with_name(f"{path.name}.{os.getpid()}")
            write_file(made, content)
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
            made.unlink()

    def socket(self, process: str, door: Door) -> Path:
        """Return the file of a door; raise `ConfigError` when the path is longer than the system allows."""
        path = self.sockets / f"{process}.{door}"
        size = len(os.fsencode(path))
        if size > UNIX_PATH_MAX:
            raise ConfigError(
                f"run directory {self.root}: the socket {path} has {size} bytes, "
                f"allowed are {UNIX_PATH_MAX}; choose a shorter run directory"
            )
        return path

    def endpoint(self, process: str, door: Door) -> str:
        """Return the ZeroMQ address of a door."""
        return f"ipc://{self.socket(process, door)}"

    def prepare(self) -> None:
        """Make what is missing, for our user alone; raise `ConfigError` where that cannot be."""
        os.umask(PRIVATE_UMASK)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for place in (self.sockets, self.locks, self.journals, self.inputs, self.crashes):
                place.mkdir(exist_ok=True)
                place.chmod(0o700)
        except OSError as error:
            raise ConfigError(f"run directory {self.root}: {error}") from error

    def check_socket(self, process: str, door: Door) -> None:
        """Assert that a bound door is a socket that only we can use."""
        mode = self.socket(process, door).stat().st_mode
        assert stat.S_ISSOCK(mode), (process, door)
        assert stat.S_IMODE(mode) & 0o077 == 0, (process, door, oct(mode))
