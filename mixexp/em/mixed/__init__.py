"""Mixtures of experts with Gaussian random effects of groups: an outer algorithm of its own."""
