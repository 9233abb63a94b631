"""The service: decide, write down, answer. NumPy only; nothing here can train."""
