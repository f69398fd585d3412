"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import bus, cores, exchange, files, journals, parsers

MODULES = (parsers, cores, bus, files, journals, exchange)
TARGETS = {target.name: target for module in MODULES for target in module.TARGETS}
