"""What Trialdeck costs, measured. Run from the project's folder: python -m benchmarks.throughput"""
