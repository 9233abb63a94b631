"""Studies compared: settings chosen on some seeds, reported on others, with intervals and pictures."""
