"""One experiment file, many runs: which there are, one run, the study folder that holds them, and its tables."""
