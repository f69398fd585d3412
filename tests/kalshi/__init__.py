"""Tests of the client side of Kalshi's protocol."""
