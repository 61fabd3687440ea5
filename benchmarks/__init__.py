"""Figures, not tests: each module prints a table and writes JSON to build/benchmarks."""
