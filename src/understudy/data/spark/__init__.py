"""Spark as the engine of timeline and join: the one text, translated; locations that only Spark reads and writes."""
