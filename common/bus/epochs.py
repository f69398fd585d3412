"""Epochs: which life of each process is the newest that was heard, by whichever way; an older one is not believed."""

from __future__ import annotations


class Epochs:
    """The newest epoch of each process. One for all the doors of a process."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}

    def is_old(self, process: str, epoch: int) -> bool:
        """Say whether a later life of the process was heard already."""
        return epoch < self._newest.get(process, 0)

    def note(self, process: str, epoch: int) -> None:
        """Take note of a life that may speak for its process."""
        self._newest[process] = max(epoch, self._newest.get(process, 0))

    def newest(self, process: str) -> int:
        """Return the newest epoch heard; 0 for none."""
        return self._newest.get(process, 0)
