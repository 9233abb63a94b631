"""Policies as ONNX graphs: raw context in, action, propensity and all probabilities out, for any runtime.

``trace`` is an array namespace whose results are nodes of a graph, so that the lines which serve are the lines which
are exported; ``features``, ``values`` and ``policies`` hold one converter per kind; ``export`` makes the file.
"""
