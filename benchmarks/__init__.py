"""Measurements of huohou beside what its users would use instead: ``python -m benchmarks [NAME …] [--smoke]``."""
