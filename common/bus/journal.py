"""Journal: a process's own records, committed before the effects that depend on them.

What comes back after a restart are the records since, and starting with, the last checkpoint. A commit that fails
raises, and that is the end of this life: acting without the record would be worse.

A journal that is damaged, or holds what its owner cannot have written, is never repaired and never begun anew by
itself: the process refuses to start and says what a person can do.
"""

from __future__ import annotations

from pathlib import Path

from common.bus.run_dir import BEGIN_ANEW
from common.errors import ConfigError, RecordDamaged
from common.log import files
from common.log.format import HEADER_BYTES, encode_record

KIND = "journal"


class Journal:
    """One process's journal, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        files.forget_unfinished(path)
        self._writer, found = files.Writer.open(path, KIND)
        self.restored: tuple[bytes, ...] = tuple(found.records)
        self.torn_bytes = found.torn_bytes
        self.records = len(self.restored)

    def persist(self, record: bytes) -> None:
        """Append a record; it survives our death once this returns, and that of the machine after `sync`."""
        self._writer.append((record,))
        self.records += 1

    def sync(self) -> None:
        """Wait until the disk has every record appended so far."""
        self._writer.sync()

    def checkpoint(self, record: bytes) -> None:
        """Put this one record in the place of all, in one step."""
        replaced = files.replace(self._path, KIND, (record,))
        self._writer.close()
        self._writer = replaced
        self.records = 1

    def where(self, error: RecordDamaged) -> str:
        """Say of a record that its owner cannot take back where it is and what is wrong."""
        at = HEADER_BYTES + sum(len(encode_record(record)) for record in self.restored[: error.place])
        return f"{self._path}: offset {at}: {error}"

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def refusal(path: Path, what: str) -> ConfigError:
    """Return why a process does not start on its journal, and what a person can do about it."""
    return ConfigError(
        f"the journal cannot be believed, so this process does not start. {what}. Nothing was changed, and nothing "
        "repairs it: keep the file. Orders of ours may still rest: `trader halt` cancels everything without this "
        f"process. `trader doctor` looks at all journals, which are in {path.parent}; {BEGIN_ANEW}"
    )
