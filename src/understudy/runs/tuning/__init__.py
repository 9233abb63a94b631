"""Hyper-parameters searched for: the space, the rounds of trials, and what the best is worth on fresh seeds."""
