"""Bugs that once were, put back one at a time: the tests must notice each of them."""
