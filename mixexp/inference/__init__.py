"""Inference after a fit."""
