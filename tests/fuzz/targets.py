"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import cores, parsers

TARGETS = {target.name: target for module in (parsers, cores) for target in module.TARGETS}
