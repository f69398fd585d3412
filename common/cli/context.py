"""What every verb is given: which run directory, file and settings the command line names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from common import config
from common.config import Config


@dataclass(frozen=True)
class Context:
    """The options that stand before the verb."""

    run_dir: Path | None
    file: Path | None
    settings: tuple[str, ...]

    def load(self) -> Config:
        """Return the effective configuration; read only now, so that `trader --help` needs none."""
        return config.load(_overrides(self.settings), run_dir=self.run_dir, file=self.file)


def _overrides(settings: tuple[str, ...]) -> Mapping[str, object]:
    overrides = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        overrides[name.strip()] = value.strip()
    return overrides
