"""Measurements, run by hand: `python -m tests.bench.payroll`, `python -m tests.bench.startup`."""
