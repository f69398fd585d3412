"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import bus, cores, exchange, files, parsers

TARGETS = {target.name: target for module in (parsers, cores, bus, files, exchange) for target in module.TARGETS}
