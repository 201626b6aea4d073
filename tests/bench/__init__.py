"""Measurements, run by hand.

`python -m tests.bench` prints the table of the jobs, `python -m tests.bench.startup` what starting costs.
"""
