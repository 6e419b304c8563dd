"""Benchmarks: `python -m bench` measures Mailkeep, alone or in turn with a rival on the same machine.

Each operation runs for a fixed time against a filled set of accounts; the load generator is one process beside the
servers, so the figures are of the whole machine. Ratios matter, absolute times do not.
"""
