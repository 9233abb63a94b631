"""Tables of episodes → steps, or pairs of a row and the next: one SQL text, whichever engine runs it."""
