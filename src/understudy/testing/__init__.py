"""The workshop: a small shared cast and conformance suites, shipped so that others can prove their own parts."""
