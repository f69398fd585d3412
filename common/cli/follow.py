"""Follow the logs of a run directory on a terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec

from common.logs import human


class LogFollower:
    """Reads what is added to every log of a directory, over rotations, as lines for a person."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._places: dict[Path, tuple[int, int]] = {}  # inode, bytes read
        for path in self._logs():
            status = path.stat()
            self._places[path] = (status.st_ino, status.st_size)

    def _logs(self) -> list[Path]:
        return sorted(self._directory.glob("*.log"))

    def lines(self) -> list[str]:
        """Return the lines that were added since the last call."""
        return [line for path in self._logs() for line in self._added(path)]

    def _added(self, path: Path) -> list[str]:
        inode, read = self._places.get(path, (0, 0))
        with path.open("rb") as file:
            status = path.stat()
            if status.st_ino != inode or status.st_size < read:
                read = 0  # rotated: a new file under the old name
            file.seek(read)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._places[path] = (status.st_ino, read + len(complete))
        return [for_a_person(line, path.stem) for line in complete.decode("utf-8", "replace").splitlines()]


def for_a_person(line: str, process: str) -> str:
    """Return a log line as text: a JSON line is laid out, any other (supervisord's, a crash's) kept."""
    try:
        record = msgspec.json.decode(line, type=dict[str, str | int | float | bool | None])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return f"{process:>24} {line}"
    return human(record)
