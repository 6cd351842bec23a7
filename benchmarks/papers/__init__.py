"""The papers' experiments, run through the public face of the package.

``python -m benchmarks.papers`` lists and runs them; ``python -m benchmarks.papers.<name> [--full]
[--out DIR]`` runs one. Each writes its tables (CSV), its figures beside the published ones (JSON)
and a picture (PNG) into benchmarks/results/papers.
"""
