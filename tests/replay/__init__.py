"""Tests that feed recorded sessions, real ones where they are at hand, to the code that reads the exchange."""
