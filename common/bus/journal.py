"""Journal: a process's own records, committed before the effects that depend on them.

What comes back after a restart are the records since, and starting with, the last checkpoint. A commit that fails
raises, and that is the end of this life: acting without the record would be worse.
"""

from __future__ import annotations

from pathlib import Path

from common.log import files

KIND = "journal"


class Journal:
    """One process's journal, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
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

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
