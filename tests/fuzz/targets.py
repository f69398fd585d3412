"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import bus, cores, files, parsers

TARGETS = {target.name: target for module in (parsers, cores, bus, files) for target in module.TARGETS}
