"""Benchmarks on real encoders: nothing here is part of the package. Run from the repository root."""
