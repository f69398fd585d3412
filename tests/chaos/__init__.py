"""The chaos campaign: real kills and faults on a real group, from a seed, then the comparison with the exchange."""
