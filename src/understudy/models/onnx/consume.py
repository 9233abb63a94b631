"""An exported policy at work in this process: columns by name in, decisions out. Needs onnxruntime and no understudy
policy; what another consumer has to do, in forty lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from understudy.core.errors import ConfigError, DataError
from understudy.models.onnx.export import need


def score_onnx(
    model: str | Path | bytes, columns: Mapping[str, Any], draw: np.ndarray, allowed: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The outputs of an exported policy by name; a discrete ``action`` also as ``action_name``.

    Args:
        model: the file, or its bytes.
        columns: feature name → n values: numbers, booleans, the texts of a category; None or NaN is missing.
        draw: u f64[n] uniform in [0, 1); of continuous actions z f64[n, q] standard normal.
        allowed: bool[n, k]; None is all.
    Raises: DataError that names a feature which is missing, or which the policy does not know.
    """
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns that "allowed" may be left out, which is its purpose
    raw = model if isinstance(model, bytes) else Path(model).read_bytes()
    session = runtime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    if "features" not in told:
        raise ConfigError("this ONNX model was not exported by understudy", "What its inputs mean is not known.")
    features = msgspec.json.decode(told["features"])
    categories = msgspec.json.decode(told["categories"])
    unknown, missing = sorted(set(columns) - set(features)), [name for name in features if name not in columns]
    for what, names in (("is missing", missing), ("is not one of the policy's", unknown)):
        if names:
            raise DataError(f"feature {names[0]!r} {what}", f"It reads: {', '.join(features)}", field=names[0])
    context = np.empty((len(draw), len(features)), np.float32)
    for j, name in enumerate(features):
        context[:, j] = _codes(name, columns[name], categories.get(name), name in msgspec.json.decode(told["open"]))
    feed: dict[str, Any] = {"context": context, session.get_inputs()[1].name: draw}
    if allowed is not None:
        feed["allowed"] = allowed
    found = dict(zip([each.name for each in session.get_outputs()], session.run(None, feed)))
    names = msgspec.json.decode(told["actions"])["names"]
    if names:
        found["action_name"] = np.array([*names, None], object)[found["action"]]
    return found


def _said(value: Any) -> str:
    """A category as text; 1.0 is what a column of whole numbers with gaps has for 1."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def _codes(name: str, values: Any, known: list[str] | None, open_: bool) -> np.ndarray:
    """One column as numbers: a category by its place, any other as the place after the last where it is open."""
    if known is None:
        return np.asarray(values, np.float32)
    place = {value: float(i) for i, value in enumerate(known)}
    codes = [
        np.nan if value is None or value != value else place.get(_said(value), float(len(known))) for value in values
    ]
    if not open_ and len(known) in codes:
        raise DataError(f"{name}={values[codes.index(len(known))]!r} is not one of its values", field=name)
    return np.array(codes, np.float32)
