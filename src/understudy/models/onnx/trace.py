"""An array namespace that writes down what is computed: each result is a node of an ONNX graph.

Functions over ``xp`` (ops.network, ops.bellman, models.q_network, models.actor) are exported by calling them with
``Trace`` in place of NumPy. Numbers are f64 unless a line says otherwise, as where NumPy serves.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from understudy.core.errors import ConfigError

ROWS = 0  # the length of an axis that is known only when the graph runs; in a Reshape it means "as it was"


class Graph:
    """Nodes and constants in the order they were made; equal constants are held once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: Any, dtype: Any = None) -> Tensor:
        """A number or array, as a tensor."""
        array = np.asarray(value, dtype)
        head = f"{array.dtype.str}{array.shape}".encode()
        name = f"c{hashlib.sha256(head + array.tobytes()).hexdigest()[:16]}"
        self.constants.setdefault(name, array)
        return Tensor(self, name, array.dtype, array.shape)

    def wide(self, array: np.ndarray) -> Tensor:
        """An array that is kept as it was learned, f32, and computed with as f64."""
        return self.constant(array).astype(np.float64)

    def node(self, kind: str, *inputs: Tensor, dtype: Any, shape: tuple[int, ...], **attributes: Any) -> Tensor:
        """One operator with one output."""
        from onnx import helper

        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [each.name for each in inputs], [name], **attributes))
        return Tensor(self, name, np.dtype(dtype), shape)


class Tensor:
    """A value inside the graph, with the operators of an array; ``shape`` has ROWS where the length is not known."""

    __array_ufunc__ = None  # NumPy arrays leave arithmetic with a tensor to the tensor

    def __init__(self, graph: Graph, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        self.graph, self.name, self.dtype, self.shape = graph, name, dtype, shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def _like(self, other: Any) -> Tensor:
        return other if isinstance(other, Tensor) else self.graph.constant(other, self.dtype)

    def _two(self, kind: str, left: Any, right: Any, dtype: Any = None) -> Tensor:
        a, b = self._like(left), self._like(right)
        return self.graph.node(kind, a, b, dtype=dtype or a.dtype, shape=_broadcast(a.shape, b.shape))

    def one(self, kind: str, dtype: Any = None, **attributes: Any) -> Tensor:
        """An operator of this tensor alone, element by element."""
        return self.graph.node(kind, self, dtype=dtype or self.dtype, shape=self.shape, **attributes)

    def __add__(self, other: Any) -> Tensor:
        return self._two("Add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._two("Add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._two("Sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._two("Sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._two("Mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._two("Mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._two("Div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._two("Div", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return self._two("Pow", self, other)

    def __neg__(self) -> Tensor:
        return self.one("Neg")

    def __le__(self, other: Any) -> Tensor:
        return self._two("LessOrEqual", self, other, np.bool_)

    def __lt__(self, other: Any) -> Tensor:
        return self._two("Less", self, other, np.bool_)

    def __ge__(self, other: Any) -> Tensor:
        return self._two("GreaterOrEqual", self, other, np.bool_)

    def __gt__(self, other: Any) -> Tensor:
        return self._two("Greater", self, other, np.bool_)

    def equals(self, other: Any) -> Tensor:
        """Element by element; ``==`` stays what Python makes of it."""
        return self._two("Equal", self, other, np.bool_)

    def __and__(self, other: Any) -> Tensor:
        return self._two("And", self, other)

    def __or__(self, other: Any) -> Tensor:
        return self._two("Or", self, other)

    def __invert__(self) -> Tensor:
        return self.one("Not")

    def __matmul__(self, other: Any) -> Tensor:
        right = self._like(other)
        if right.ndim == 1:
            shape = self.shape[:-1]
        else:
            shape = (*_broadcast(self.shape[:-2], right.shape[:-2]), self.shape[-2], right.shape[-1])
        return self.graph.node("MatMul", self, right, dtype=self.dtype, shape=shape)

    def __getitem__(self, key: Any) -> Tensor:
        """``[..., i:j]``, ``[..., None]`` and ``[..., None, :]``: what the shared lines use."""
        if key == (Ellipsis, None):
            return self.unsqueeze(self.ndim)
        if key == (Ellipsis, None, slice(None)):
            return self.unsqueeze(self.ndim - 1)
        if isinstance(key, tuple) and len(key) == 2 and key[0] is Ellipsis and isinstance(key[1], slice):
            start, stop, step = key[1].indices(self.shape[-1])
            if step == 1:
                return self.take(np.arange(start, stop))
        raise ConfigError(f"an exported graph cannot be indexed by {key!r}")

    def take(self, places: np.ndarray) -> Tensor:
        """Columns of the last axis."""
        shape = (*self.shape[:-1], len(places))
        index = self.graph.constant(places, np.int64)
        return self.graph.node("Gather", self, index, dtype=self.dtype, shape=shape, axis=self.ndim - 1)

    def at(self, places: Tensor) -> Tensor:
        """Entries of this vector at the places of an i64 tensor."""
        return self.graph.node("Gather", self, places, dtype=self.dtype, shape=places.shape, axis=0)

    def along(self, places: Tensor) -> Tensor:
        """For each row, the entries of the last axis at its own places."""
        return self.graph.node("GatherElements", self, places, dtype=self.dtype, shape=places.shape, axis=self.ndim - 1)

    def unsqueeze(self, axis: int) -> Tensor:
        """A new axis of length 1."""
        shape = (*self.shape[:axis], 1, *self.shape[axis:])
        return self.graph.node("Unsqueeze", self, self.graph.constant([axis], np.int64), dtype=self.dtype, shape=shape)

    def reshape(self, *shape: int) -> Tensor:
        """The same numbers in another shape; an axis whose length is not known keeps its place."""
        to = self.graph.constant(shape, np.int64)
        return self.graph.node("Reshape", self, to, dtype=self.dtype, shape=tuple(shape))

    def transpose(self, *order: int) -> Tensor:
        """The axes in another order."""
        shape = tuple(self.shape[axis] for axis in order)
        return self.graph.node("Transpose", self, dtype=self.dtype, shape=shape, perm=list(order))

    def spread(self, rows: Tensor) -> Tensor:
        """Broadcast to the shape of ``rows``."""
        to = self.graph.node("Shape", rows, dtype=np.int64, shape=(rows.ndim,))
        return self.graph.node("Expand", self, to, dtype=self.dtype, shape=rows.shape)

    def astype(self, dtype: Any) -> Tensor:
        """Cast; nothing where it is of that type already."""
        from onnx import helper

        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self
        return self.one("Cast", dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def _reduced(self, kind: str, axis: int, keepdims: bool) -> Tensor:
        axis %= self.ndim
        shape = tuple(1 if i == axis else n for i, n in enumerate(self.shape) if keepdims or i != axis)
        axes = self.graph.constant([axis], np.int64)
        return self.graph.node(kind, self, axes, dtype=self.dtype, shape=shape, keepdims=int(keepdims))

    def sum(self, axis: int, keepdims: bool = False) -> Tensor:
        """Σ over one axis; of a mask, how many."""
        numbers = self.astype(np.float64) if self.dtype == np.bool_ else self
        return numbers._reduced("ReduceSum", axis, keepdims)

    def mean(self, axis: int, keepdims: bool = False) -> Tensor:
        """The mean over one axis."""
        return self._reduced("ReduceMean", axis, keepdims)

    def max(self, axis: int, keepdims: bool = False) -> Tensor:
        """The largest over one axis."""
        return self._reduced("ReduceMax", axis, keepdims)


def _broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    n = max(len(left), len(right))
    pairs = zip((1,) * (n - len(left)) + left, (1,) * (n - len(right)) + right)
    return tuple(b if a == 1 else a for a, b in pairs)


class Trace:
    """The functions of the namespace, as ``xp`` is used in this package."""

    linspace = staticmethod(np.linspace)
    prod = staticmethod(np.prod)

    @staticmethod
    def exp(x: Tensor) -> Tensor:
        return x.one("Exp")

    @staticmethod
    def log(x: Tensor) -> Tensor:
        return x.one("Log")

    @staticmethod
    def log1p(x: Tensor) -> Tensor:
        return (1 + x).one("Log")

    @staticmethod
    def expm1(x: Tensor) -> Tensor:
        """eˣ − 1 = tanh(x/2)·(eˣ + 1), which keeps its digits near 0."""
        return Trace.tanh(0.5 * x) * (Trace.exp(x) + 1)

    @staticmethod
    def tanh(x: Tensor) -> Tensor:
        return x.one("Tanh")

    @staticmethod
    def sqrt(x: Tensor) -> Tensor:
        return x.one("Sqrt")

    @staticmethod
    def sign(x: Tensor) -> Tensor:
        return x.one("Sign")

    @staticmethod
    def abs(x: Tensor) -> Tensor:
        return x.one("Abs")

    @staticmethod
    def isnan(x: Tensor) -> Tensor:
        return x.one("IsNaN", np.bool_)

    @staticmethod
    def maximum(x: Tensor, y: Any) -> Tensor:
        return x._two("Max", x, y)

    @staticmethod
    def minimum(x: Tensor, y: Any) -> Tensor:
        return x._two("Min", x, y)

    @staticmethod
    def clip(x: Tensor, low: Any, high: Any) -> Tensor:
        return Trace.minimum(Trace.maximum(x, low), high)

    @staticmethod
    def arctanh(x: Tensor) -> Tensor:
        return 0.5 * Trace.log((1 + x) / (1 - x))

    @staticmethod
    def logaddexp(x: float, y: Tensor) -> Tensor:
        """log(eˣ + eʸ) of a number and a tensor, which cannot overflow."""
        apart = y - x
        return x + Trace.maximum(apart, 0.0) + Trace.log1p(Trace.exp(-Trace.abs(apart)))

    @staticmethod
    def where(condition: Tensor, x: Any, y: Any) -> Tensor:
        dtype = next((each.dtype for each in (x, y) if isinstance(each, Tensor)), np.dtype(np.float64))
        a, b = (each if isinstance(each, Tensor) else condition.graph.constant(each, dtype) for each in (x, y))
        shape = _broadcast(condition.shape, _broadcast(a.shape, b.shape))
        return condition.graph.node("Where", condition, a, b, dtype=dtype, shape=shape)

    @staticmethod
    def concatenate(parts: list[Tensor], axis: int) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        axis %= parts[0].ndim
        total = sum(part.shape[axis] for part in parts)
        shape = tuple(total if i == axis else n for i, n in enumerate(parts[0].shape))
        return parts[0].graph.node("Concat", *parts, dtype=parts[0].dtype, shape=shape, axis=axis)

    @staticmethod
    def stack(parts: list[Tensor], axis: int) -> Tensor:
        return Trace.concatenate([part.unsqueeze(axis) for part in parts], axis)
