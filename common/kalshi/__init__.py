"""The only package that knows Kalshi's formats.

wire, bodies        the frames and REST bodies as they are on the wire
fields, parse, parse_rest   wire -> our units, pure; the results are in types
sequence, subscriptions     the stream's rules, pure: sequence numbers, what to send and what an answer means
calls, outcomes, paging   REST: what to send, what an answer (or none) proves, listings; pure
budget              the rate limit's token buckets, pure
auth, keyfile       signatures; reading a private key safely
stream, rest        the shells: they move bytes and report connections
"""
