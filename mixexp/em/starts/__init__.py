"""Starts: the canonical table, the candidates, the local search."""
