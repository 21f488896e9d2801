"""Benchmarks of Trialdeck. Run them from the project's root: python -m benchmarks.throughput"""
