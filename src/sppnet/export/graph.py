"""Writing an ONNX graph as one writes numpy: values with arithmetic, operators by name, constants as they are."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

OPSET: Final = 18
IR_VERSION: Final = 9  # what readers of opset 18 know

# What an operator gives, where that is not the type of its first input.
_BOOLS: Final = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not"}
_WHOLE: Final = {"Shape", "NonZero", "NonMaxSuppression", "Size"}


class Value:
    """One value of a graph: what an operator gives, an input or a constant; arithmetic makes further operators.

    Division of whole numbers rounds towards zero, as ONNX has it: ``//`` is for what is not negative.
    """

    def __init__(self, graph: "Graph", name: str, dtype: Any) -> None:
        self.graph, self.name, self.dtype = graph, name, np.dtype(dtype)

    def _with(self, kind: str, other: "Value | ArrayLike", *, turned: bool = False) -> "Value":
        second = self.graph.value(other, self.dtype)
        return self.graph.op(kind, *((second, self) if turned else (self, second)))

    def __add__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Add", other)

    def __radd__(self, other: ArrayLike) -> "Value":
        return self._with("Add", other)

    def __sub__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Sub", other)

    def __rsub__(self, other: ArrayLike) -> "Value":
        return self._with("Sub", other, turned=True)

    def __mul__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Mul", other)

    def __rmul__(self, other: ArrayLike) -> "Value":
        return self._with("Mul", other)

    def __truediv__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Div", other)

    def __rtruediv__(self, other: ArrayLike) -> "Value":
        return self._with("Div", other, turned=True)

    def __floordiv__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Div", other)

    def __matmul__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("MatMul", other)

    def __gt__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Greater", other)

    def __ge__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("GreaterOrEqual", other)

    def __lt__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("Less", other)

    def __le__(self, other: "Value | ArrayLike") -> "Value":
        return self._with("LessOrEqual", other)

    def __and__(self, other: "Value") -> "Value":
        return self._with("And", other)

    def equals(self, other: "Value | ArrayLike") -> "Value":
        """Return where both are equal."""
        return self._with("Equal", other)

    def larger(self, other: "Value | ArrayLike") -> "Value":
        """Return the larger of each two; NaN wherever one of them is."""
        return self._with("Max", other)

    def smaller(self, other: "Value | ArrayLike") -> "Value":
        """Return the smaller of each two."""
        return self._with("Min", other)

    def to(self, dtype: Any) -> "Value":
        """Return the same numbers as another type."""
        return self.graph.op("Cast", self, dtype=dtype, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def take(self, places: "Value | ArrayLike", axis: int = 0) -> "Value":
        """Return what lies at some places of an axis; one place drops the axis."""
        return self.graph.op("Gather", self, self.graph.value(places, np.int64), axis=axis)

    def columns(self) -> list["Value"]:
        """Return the columns (N,) of a matrix of boxes or windows (N, 4)."""
        return [self.take(column, axis=1) for column in range(4)]

    def shape(self, axis: int) -> "Value":
        """Return the length of an axis, () int64."""
        return self.graph.op("Shape", self).take(axis)

    def reshape(self, *shape: int) -> "Value":
        """Return the same numbers in another shape; -1 is what is left, 0 the length that the axis has."""
        return self.graph.op("Reshape", self, self.graph.value(shape, np.int64))

    def transpose(self, *axes: int) -> "Value":
        """Return the axes in another order."""
        return self.graph.op("Transpose", self, perm=list(axes))

    def insert(self, *axes: int) -> "Value":
        """Return it with axes of length 1 at these places."""
        return self.graph.op("Unsqueeze", self, self.graph.value(axes, np.int64))

    def drop(self, *axes: int) -> "Value":
        """Return it without these axes of length 1."""
        return self.graph.op("Squeeze", self, self.graph.value(axes, np.int64))

    def part(self, first: "Value | int", end: "Value | int", axis: int) -> "Value":
        """Return what lies from one place of an axis to before another, (1,) each; ends past the last are the last."""
        ends = [each if isinstance(each, Value) else self.graph.value([each], np.int64) for each in (first, end)]
        return self.graph.op("Slice", self, *ends, self.graph.value([axis], np.int64))

    def over(self, kind: str, axis: int, *, keep: bool = False) -> "Value":
        """Return a reduction over an axis, of a kind such as "ReduceSum"."""
        return self.graph.op(kind, self, self.graph.value([axis], np.int64), keepdims=int(keep))

    def running(self) -> "Value":
        """Return the sums (N,) of all numbers up to each."""
        return self.graph.op("CumSum", self, self.graph.value(0, np.int64))


class Graph:
    """A graph in the making.

    >>> graph = Graph()
    >>> number = graph.input("number", np.float32, ["n"])
    >>> graph.output("twice", number * 2, ["n"])
    >>> [node.op_type for node in graph.model().graph.node]
    ['Mul', 'Identity']
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Value:
        """Add an input; names in its shape are free lengths."""
        self._inputs.append(_info(name, dtype, shape))
        return Value(self, name, dtype)

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> None:
        """Give a value out under a name."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(_info(name, value.dtype, shape))

    def value(self, number: "Value | ArrayLike", dtype: Any) -> Value:
        """Return a value as it is, and a number or an array as a constant of a type."""
        return number if isinstance(number, Value) else self.constant(np.asarray(number, dtype=dtype))

    def constant(self, array: NDArray[Any]) -> Value:
        """Return a constant; the same one for the same numbers."""
        array = np.asarray(array, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(array, f"constant{len(self._initializers)}")
        return Value(self, self._initializers[key].name, array.dtype)

    def op(self, kind: str, *inputs: Value | None, dtype: Any = None, **attributes: Any) -> Value:
        """Add an operator of one output; None stands for an input that is left out."""
        return self.ops(kind, *inputs, dtypes=[dtype or self._dtype(kind, inputs)], **attributes)[0]

    def ops(self, kind: str, *inputs: Value | None, dtypes: Sequence[Any], **attributes: Any) -> list[Value]:
        """Add an operator of as many outputs as there are types."""
        names = [f"{kind.lower()}{len(self.nodes)}_{place}" for place in range(len(dtypes))]
        given = ["" if each is None else each.name for each in inputs]
        self.nodes.append(helper.make_node(kind, given, names, **attributes))
        return [Value(self, name, dtype) for name, dtype in zip(names, dtypes, strict=True)]

    def where(self, holds: Value, yes: Value, no: Value) -> Value:
        """Return one of two numbers, by a condition."""
        return self.op("Where", holds, yes, no, dtype=yes.dtype)

    def join(self, *values: Value, axis: int = 0) -> Value:
        """Return values one after the other along an axis."""
        return self.op("Concat", *values, axis=axis)

    def stack(self, *values: Value, axis: int = 0) -> Value:
        """Return values of one shape one after the other along a new axis."""
        return self.join(*(value.insert(axis) for value in values), axis=axis)

    def range(self, end: Value) -> Value:
        """Return 0, 1, ... to before ``end``."""
        return self.op("Range", self.value(0, np.int64), end, self.value(1, np.int64))

    def best(self, numbers: Value, count: Value) -> tuple[Value, Value]:
        """Return along the last axis the largest numbers, falling, and their places; of equal ones, the first."""
        first, places = self.ops("TopK", numbers, count.reshape(1), dtypes=[numbers.dtype, np.int64], axis=-1)
        return first, places

    def order(self, numbers: Value) -> Value:
        """Return the places of numbers (N,), the smallest first; of equal ones, the first."""
        return self.best(0 - numbers, numbers.shape(0))[1]

    def model(self) -> onnx.ModelProto:
        """Return the finished model, checked."""
        graph = helper.make_graph(self.nodes, "sppnet", self._inputs, self._outputs, list(self._initializers.values()))
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="sppnet"
        )
        onnx.checker.check_model(made)
        return made

    @staticmethod
    def _dtype(kind: str, inputs: Sequence[Value | None]) -> Any:
        if kind in _BOOLS:
            return np.bool_
        first = inputs[0]
        return np.int64 if kind in _WHOLE or first is None else first.dtype


def _info(name: str, dtype: Any, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
