"""Configuration: puts the settings together and remembers where each value comes from.

A value is taken from the last of these that has it: the default in `common.settings`, the file trader.toml, the
environment (`TRADER_<SECTION>_<NAME>`, and the KALSHI_ names that other tools use for keys), the command line.
Whatever is unknown or not allowed raises `ConfigError`, which names the key, the value and what is allowed.

The file is the first of: `--config`, `TRADER_CONFIG`, `trader.toml` in the run directory, `trader.toml` of the project.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import msgspec

from common.errors import ConfigError, UnitError
from common.settings import (
    PRODUCTION_CONFIRMATION,
    PRODUCTION_TOTAL_LOSS_USD_E6,
    KeySettings,
    Settings,
)
from common.units import format_price, format_qty, format_usd, parse_price_e4, parse_qty_e2, parse_usd_e6

PROJECT_DIR = Path(__file__).resolve().parents[1]
DEFAULT_FILE = PROJECT_DIR / "trader.toml"
DEFAULT_RUN_DIR = PROJECT_DIR / "run"

UNIX_PATH_MAX = 107  # bytes in a unix socket's address on Linux, without the closing zero
SOCKET_NAME_MAX = 32  # bytes below the run directory that every socket of ours fits in
_INTEGER_BITS = 64  # of a number in the file; Python refuses to print one of thousands of digits
_RUN_DIR_REFUSED = frozenset('%";\n\r')  # they mean something in supervisord's configuration

KALSHI_VARIABLES = {
    "KALSHI_API_KEY_ID": "keys.trade_key_id",
    "KALSHI_PRIVATE_KEY_PATH": "keys.trade_key_path",
    "KALSHI_READ_API_KEY_ID": "keys.read_key_id",
    "KALSHI_READ_PRIVATE_KEY_PATH": "keys.read_key_path",
}
_VARIABLES_THAT_ARE_NO_SETTING = frozenset({"TRADER_RUN_DIR", "TRADER_CONFIG"})
_SECRET = frozenset({"keys.trade_key_id", "keys.read_key_id"})


@dataclass(frozen=True)
class Unit:
    """How a quantity is written by a person and held in code."""

    parse: Callable[[object], int]
    format: Callable[[int], str]
    example: str


UNITS = {
    "_price_e4": Unit(parse_price_e4, format_price, "a price from 0 to 1 with up to 4 decimals, such as 0.03"),
    "_low_e4": Unit(parse_price_e4, format_price, "a price from 0 to 1 with up to 4 decimals, such as 0.03"),
    "_high_e4": Unit(parse_price_e4, format_price, "a price from 0 to 1 with up to 4 decimals, such as 0.97"),
    "_qty_e2": Unit(parse_qty_e2, format_qty, "a number of contracts with up to 2 decimals, such as 10.00"),
    "_usd_e6": Unit(parse_usd_e6, format_usd, "dollars with up to 6 decimals, such as 10.00"),
}


@dataclass(frozen=True)
class Key:
    """One setting: where it lives in code, and what it is called in the file ("limits.order_cost_usd")."""

    section: str
    field: msgspec.structs.FieldInfo
    name: str
    unit: Unit | None

    @property
    def variable(self) -> str:
        """Return the environment variable that sets it."""
        return f"TRADER_{self.name.replace('.', '_').upper()}"

    @property
    def is_secret(self) -> bool:
        """Say whether its value must never be shown."""
        return self.name in _SECRET

    def read(self, value: object, origin: str) -> object:
        """Return the checked value of this setting as code holds it; raise `ConfigError`."""
        if type(value) is int and value.bit_length() > _INTEGER_BITS:
            raise ConfigError(
                f"{self.name} = a number of {value.bit_length()} bits ({origin}): allowed is {self.allowed}"
            )
        try:
            if self.unit is not None:
                text = str(value) if type(value) is int else value
                return msgspec.convert(self.unit.parse(text), self.field.type)
            return msgspec.convert(_from_text(value, self.field.type), self.field.type)
        except (UnitError, UnicodeError, msgspec.ValidationError) as error:
            shown = "the value given" if self.is_secret else f"{value!r:.200}"
            raise ConfigError(f"{self.name} = {shown} ({origin}): allowed is {self.allowed}") from error

    @property
    def allowed(self) -> str:
        """Say in words what may be written."""
        if self.unit is None:
            return _allowed(self.field.type)
        return self.unit.example + (", above 0" if _bound(self.field.type, "ge") == 1 else "")

    def show(self, value: Any) -> str:
        """Print a value as a person would write it; secrets only as set or not set."""
        if self.is_secret:
            return "(set, hidden)" if value else '""'
        if self.unit is not None:
            whole, _, fraction = self.unit.format(value).partition(".")
            return f"{whole}.{fraction.rstrip('0'):0<2}"
        return msgspec.json.encode(value).decode()


@dataclass(frozen=True)
class Config:
    """The effective configuration of one process or command."""

    settings: Settings
    keys: KeySettings
    run_dir: Path
    file: Path | None
    origins: Mapping[str, str]

    @property
    def account(self) -> str:
        """Return whose orders and money a group of this configuration deals with, in words."""
        exchange = self.settings.exchange
        return f"{exchange.environment}, subaccount {exchange.subaccount}"

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (name, value, origin) of every setting, secrets hidden."""
        sections: dict[str, object] = {**_sections(self.settings), "keys": self.keys}
        return [
            (key.name, key.show(getattr(sections[key.section], key.field.name)), self.origins[key.name])
            for key in KEYS.values()
        ]


def _sections(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


def _all_keys() -> dict[str, Key]:
    """Return every setting by its name in the file."""
    sections = [(field.name, field.type) for field in msgspec.structs.fields(Settings)]
    keys = {}
    for section, struct in [*sections[:1], ("keys", KeySettings), *sections[1:]]:
        for field in msgspec.structs.fields(struct):
            unit = next((unit for suffix, unit in UNITS.items() if field.name.endswith(suffix)), None)
            name = f"{section}.{field.name.rpartition('_')[0] if unit else field.name}"
            keys[name] = Key(section, field, name, unit)
    return keys


KEYS: Mapping[str, Key] = MappingProxyType(_all_keys())


def _from_text(value: object, kind: Any) -> object:
    """Turn text (of the environment, or a decimal of the file) into what `kind` wants; leave the rest alone."""
    if type(value) is not str:
        return value
    base = _base(kind)
    if base is bool and value in ("true", "false"):
        return value == "true"
    if base is float or (base is int and value.isascii()):
        return msgspec.convert(value, base, strict=False)
    if get_origin(base) is tuple:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _base(kind: Any) -> Any:
    """Return the type below `Annotated`."""
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _allowed(kind: Any) -> str:
    base = _base(kind)
    if get_origin(base) is Literal:
        return "one of " + ", ".join(map(str, get_args(base)))
    if get_origin(base) is tuple:
        return "a list of texts"
    if base is bool:
        return "true or false"
    if base is str:
        return "a text in quotes"
    number = "a whole number" if base is int else "a number"
    words = (("gt", "above"), ("ge", "from"), ("le", "to"))
    bounds = (f" {word} {bound}" for which, word in words if (bound := _bound(kind, which)) is not None)
    return number + "".join(bounds)


def _bound(kind: Any, which: str) -> float | None:
    metas = (meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta))
    return next((bound for meta in metas if (bound := getattr(meta, which)) is not None), None)


def load(
    overrides: Mapping[str, object] | None = None,
    *,
    run_dir: Path | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    only: Collection[str] | None = None,
) -> Config:
    """Return the effective configuration; `overrides`, `run_dir` and `file` are what the command line says.

    With `only` the other sections that there are keep their defaults, whatever is said of them; a section that there is
    not may be one of these misspelt, and is refused as ever.
    """
    environment = os.environ if environment is None else environment
    run_dir = resolve_run_dir(run_dir, environment)
    file = find_file(file, run_dir, environment)
    passed_over = {key.section for key in KEYS.values() if only is not None and key.section not in only}
    layers: list[Iterable[tuple[str, object, str]]] = [
        _file_values(file) if file is not None else [],
        _environment_values(environment, passed_over),
        ((name, value, "command line") for name, value in (overrides or {}).items()),
    ]
    values: dict[str, dict[str, object]] = {}
    origins = dict.fromkeys(KEYS, "default")
    for layer in layers:
        for name, value, origin in layer:
            if name.partition(".")[0] in passed_over:
                continue
            key = _known(name, origin)
            values.setdefault(key.section, {})[key.field.name] = key.read(value, origin)
            origins[name] = origin
    settings, keys = _build(values)
    settings = _apply_environment_rules(settings, origins)
    _check_together(settings, origins)
    return Config(settings, keys, run_dir, file, MappingProxyType(origins))


def _known(name: str, origin: str) -> Key:
    if name not in KEYS:
        section = name.partition(".")[0] + "."
        near = [known for known in KEYS if known.startswith(section)]
        choices = near or sorted({known.partition(".")[0] for known in KEYS})
        raise ConfigError(f"{name} ({origin}): there is no such setting; allowed are {', '.join(choices)}")
    return KEYS[name]


def _build(values: Mapping[str, Mapping[str, object]]) -> tuple[Settings, KeySettings]:
    sections = {field.name: field.type(**values.get(field.name, {})) for field in msgspec.structs.fields(Settings)}
    return Settings(**sections), msgspec.convert(values.get("keys", {}), KeySettings)


def _file_values(file: Path) -> Iterable[tuple[str, object, str]]:
    """Yield the settings of a TOML file; decimals arrive as their text, so nothing passes through a float."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=str)
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number of thousands of digits
        raise ConfigError(f"configuration file {file}: {error!s:.300}") from error
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{section} ({file}): settings stand in a [section], such as [exchange]")
        if not table:
            _known_section(section, file)
        for name, value in table.items():
            yield f"{section}.{name}", value, str(file)


def _known_section(section: str, file: Path) -> None:
    known = {key.section for key in KEYS.values()}
    if section not in known:
        raise ConfigError(f"[{section}] ({file}): there is no such section; allowed are {', '.join(sorted(known))}")


def _environment_values(
    environment: Mapping[str, str], passed_over: Iterable[str]
) -> Iterable[tuple[str, object, str]]:
    """Yield the settings of the environment: the project's own names win over the KALSHI_ ones."""
    for variable, name in KALSHI_VARIABLES.items():
        if variable in environment:
            yield name, environment[variable], f"environment {variable}"
    of_variable = {key.variable: key.name for key in KEYS.values()}
    beginnings = tuple(f"TRADER_{section.upper()}_" for section in passed_over)
    for variable in sorted(environment):
        if not variable.startswith("TRADER_") or variable in _VARIABLES_THAT_ARE_NO_SETTING:
            continue
        if variable.startswith(beginnings):
            continue
        if variable not in of_variable:
            raise ConfigError(f"environment {variable}: there is no such setting; `trader config` lists them all")
        yield of_variable[variable], environment[variable], f"environment {variable}"


def find_file(file: Path | None, run_dir: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the configuration file to read; one that was named must exist."""
    named = file or (Path(environment["TRADER_CONFIG"]) if environment.get("TRADER_CONFIG") else None)
    try:
        if named is not None:
            if not named.is_file():
                raise ConfigError(f"configuration file {named}: not found")
            return named.resolve()
        return next((path for path in (run_dir / "trader.toml", DEFAULT_FILE) if path.is_file()), None)
    except OSError as error:  # a directory on the way that lets nobody in
        raise ConfigError(f"configuration file: {error}") from error


def named_run_dir(text: str) -> Path:
    """Return the run directory that a command line names; an empty name would be wherever one stands."""
    if not text:
        raise ConfigError("run directory '': names no directory")
    return Path(text)


def resolve_run_dir(run_dir: Path | None, environment: Mapping[str, str]) -> Path:
    """Return the absolute run directory; raise `ConfigError` where sockets or supervisord could not live in it.

    It becomes its owner's alone, and files of ours are overwritten there: that must not happen to the project.
    """
    if run_dir is None and environment.get("TRADER_RUN_DIR"):
        run_dir = Path(environment["TRADER_RUN_DIR"])
    resolved = (run_dir or DEFAULT_RUN_DIR).absolute()
    longest = UNIX_PATH_MAX - SOCKET_NAME_MAX - 1
    if len(os.fsencode(resolved)) > longest:
        raise ConfigError(f"run directory {resolved}: longer than {longest} bytes, so unix sockets do not fit in it")
    if refused := _RUN_DIR_REFUSED.intersection(str(resolved)):
        raise ConfigError(f"run directory {resolved}: may not contain {' '.join(map(repr, sorted(refused)))}")
    if PROJECT_DIR.is_relative_to(os.path.realpath(resolved)):
        raise ConfigError(
            f"run directory {resolved}: the project itself lies there; name one of its own, such as ./run"
        )
    nearest = next(path for path in (resolved, *resolved.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ConfigError(f"run directory {resolved}: {nearest} is no directory")
    return resolved


def _apply_environment_rules(settings: Settings, origins: dict[str, str]) -> Settings:
    """Until somebody has set them: no policy acts outside of paper, and in production the total loss is lower."""
    environment = settings.exchange.environment
    if environment != "paper" and origins["inference.policy"] == "default":
        origins["inference.policy"] = f"default for {environment}"
        settings = msgspec.structs.replace(
            settings, inference=msgspec.structs.replace(settings.inference, policy="hold")
        )
    if environment == "production" and origins["limits.total_loss_usd"] == "default":
        origins["limits.total_loss_usd"] = "default for production"
        limits = msgspec.structs.replace(settings.limits, total_loss_usd_e6=PRODUCTION_TOTAL_LOSS_USD_E6)
        settings = msgspec.structs.replace(settings, limits=limits)
    return settings


def _check_together(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuse values that are fine alone and wrong together."""
    exchange, limits = settings.exchange, settings.limits
    trades_real_money = exchange.environment == "production" and exchange.mode == "trade"
    if trades_real_money and exchange.confirm_production != PRODUCTION_CONFIRMATION:
        raise ConfigError(
            f"exchange.confirm_production = {exchange.confirm_production!r} "
            f"({origins['exchange.confirm_production']}): to trade in production it must be "
            f'"{PRODUCTION_CONFIRMATION}"; exchange.mode = "observe" needs no confirmation'
        )
    if exchange.environment != "paper":
        _check_scheme("exchange.rest_url", exchange.rest_url, "https://", origins)
        _check_scheme("exchange.stream_url", exchange.stream_url, "wss://", origins)
    if limits.price_low_e4 >= limits.price_high_e4:
        raise ConfigError(
            f"limits.price_low = {format_price(limits.price_low_e4)} ({origins['limits.price_low']}): allowed is "
            f"less than limits.price_high = {format_price(limits.price_high_e4)} ({origins['limits.price_high']})"
        )


def _check_scheme(name: str, url: str, scheme: str, origins: Mapping[str, str]) -> None:
    if url and not url.startswith(scheme):
        raise ConfigError(f"{name} = {url!r} ({origins[name]}): allowed is an address that begins with {scheme}")
