"""What every verb is given: which run directory, file and settings the command line names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from common import config
from common.bus.run_dir import RunDir
from common.config import PROJECT_DIR, Config
from common.errors import ConfigError
from common.paper.scenario import load_scenario

_OF_THE_EXCHANGE = ("exchange", "keys")


@dataclass(frozen=True)
class Context:
    """The options that stand before the verb."""

    run_dir: Path | None
    file: Path | None
    overrides: Mapping[str, object]

    def load(self) -> Config:
        """Return the effective configuration; read only now, so that `trader --help` needs none."""
        loaded = config.load(self.overrides, run_dir=self.run_dir, file=self.file)
        _check_scenario(loaded)
        return loaded

    def load_exchange(self) -> Config:
        """Return a configuration of which only the exchange and the keys count; mistakes elsewhere do not matter."""
        return config.load(self.overrides, run_dir=self.run_dir, file=self.file, only=_OF_THE_EXCHANGE)

    def locate(self) -> RunDir:
        """Return the run directory, for which no setting is read."""
        return RunDir(config.resolve_run_dir(self.run_dir, os.environ))

    def find(self) -> RunDir:
        """Return the run directory, which is all that asking or stopping a group takes; warn of broken settings."""
        run_dir = self.locate()
        self.warn()
        return run_dir

    def warn(self) -> None:
        """Say on standard error if the settings are broken: a group that runs does not mind before its next start."""
        try:
            self.load()
        except ConfigError as error:
            click.echo(f"warning: {error}; what runs keeps the settings it was started with", err=True)


def overrides_of(settings: tuple[str, ...]) -> dict[str, object]:
    """Return what NAME=VALUE words mean."""
    overrides: dict[str, object] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.BadParameter(f"{setting!r} is not NAME=VALUE", param_hint="--set")
        overrides[name.strip()] = value.strip()
    return overrides


def _check_scenario(loaded: Config) -> None:
    """Raise `ConfigError` unless the paper exchange, where there is one, finds its scenario and understands it."""
    if loaded.settings.exchange.environment != "paper":
        return
    name = loaded.settings.paper.scenario
    try:
        load_scenario(str(PROJECT_DIR / name) if name.endswith(".toml") else name)
    except ConfigError as error:
        raise ConfigError(f"paper.scenario ({loaded.origins['paper.scenario']}): {error}") from error
