"""A graph as a program of PyTorch: operator by operator by those that every PyTorch has, then ``torch.export``.

Sizes are followed as symbols wherever they come from the image's alone, and read off where they come from its content
(how many regions, which bin is the longest), so that one program serves images of any size.
"""

import operator
import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Final

import numpy as np
import onnx
import torch
import torch.nn.functional as F
import torchvision
from onnx import helper, numpy_helper
from torch import Tensor, nn

# Whole numbers that make a shape: an array of int and torch.SymInt, of type object; everything else is a tensor.
Sizes = np.ndarray[Any, np.dtype[np.object_]]

SAMPLE: Final = (97, 130)  # lengths of the first two axes while the program is recorded: of values none is computed


class _Constant(Sizes):
    """Whole numbers, or any single one, of the graph itself, and the tensor that holds them."""

    tensor: Tensor | None = None


def exported_program(graph: onnx.ModelProto) -> torch.export.ExportedProgram:
    """Make a program that does what a graph does: of ``detector_graph``, ``boxes_graph`` or ``classifier_graph``.

    It takes the graph's inputs in their order, with lengths free where the graph leaves them free, and gives its
    outputs in theirs.
    """
    samples, free = [], []
    for number, each in enumerate(graph.graph.input):
        kind = each.type.tensor_type
        lengths = [length.dim_value if length.HasField("dim_value") else None for length in kind.shape.dim]
        # Different lengths wherever they are free: equal ones would be taken for one.
        shape = [SAMPLE[place] + 16 * number if length is None else length for place, length in enumerate(lengths)]
        samples.append(torch.from_numpy(np.zeros(shape, dtype=helper.tensor_dtype_to_np_dtype(kind.elem_type))))
        dim = torch.export.Dim
        free.append({place: dim.DYNAMIC for place, length in enumerate(lengths) if length is None})
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torchvision's own, of its suppression
        return torch.export.export(
            GraphModule(graph), tuple(samples), dynamic_shapes={"inputs": tuple(free)}, strict=False
        )


class GraphModule(nn.Module):
    """Runs a graph."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        super().__init__()
        self.nodes = list(graph.graph.node)
        self.takes = [each.name for each in graph.graph.input]
        self.gives = [each.name for each in graph.graph.output]
        self.constants: dict[str, _Constant] = {}
        for each in graph.graph.initializer:
            array = numpy_helper.to_array(each)
            self.register_buffer(each.name, torch.from_numpy(np.array(array)))
            if array.size == 1 or (array.dtype == np.int64 and array.ndim <= 1):
                self.constants[each.name] = array.astype(object).view(_Constant)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the graph, in its order."""
        buffers = dict(self.named_buffers())
        for name, constant in self.constants.items():
            constant.tensor = buffers[name]
        values: dict[str, Any] = buffers | self.constants | {"": None}
        values |= dict(zip(self.takes, inputs, strict=True))
        lengths: dict[Any, torch.SymInt] = {}
        for node in self.nodes:
            given = [values[name] for name in node.input]
            options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            made = _run(node.op_type, given, options)
            each = made if isinstance(made, tuple) else (made,)
            values |= zip(node.output, (_renamed(value, lengths) for value in each), strict=False)
        return tuple(_tensor(values[name]) for name in self.gives)


def _run(kind: str, given: list[Any], options: dict[str, Any]) -> Any:
    """Run one operator: on sizes alone as arithmetic of symbols, otherwise on tensors."""
    if kind == "Concat" and any(isinstance(each, np.ndarray) for each in given):
        given = [_object(_sizes(each)) if _is_one_number(each) else each for each in given]
    present = [each for each in given if each is not None]
    if kind in _ON_SIZES and all(isinstance(each, np.ndarray) for each in present):
        made = _ON_SIZES[kind](*given, **options)
        if made is not None:
            return made
    if kind in _WITH_SIZES:
        return _WITH_SIZES[kind](_tensor(given[0]), *given[1:], **options)
    return _ON_TENSORS[kind](*map(_tensor, given), **options)


def _is_one_number(value: Any) -> bool:
    """Tell a whole number that was computed, such as how many regions are kept, which stands in a shape."""
    if not isinstance(value, Tensor) or value.dtype != torch.int64 or value.ndim != 1:
        return False
    length = value.shape[0]
    return isinstance(length, int) and length == 1  # a symbol is not compared: nobody knows its value yet


def _renamed(value: Any, lengths: dict[Any, torch.SymInt]) -> Any:
    """Give each length of a tensor that is an expression a symbol of its own: what is long to compare never grows."""
    shape: Sequence[Any] = value.shape if isinstance(value, Tensor) else ()
    for axis, length in enumerate(shape):
        if isinstance(length, torch.SymInt) and not _is_short(length.node.expr):
            expression = length.node.expr
            if expression not in lengths:
                lengths[expression] = torch.scalar_tensor(length, dtype=torch.int64).item()  # type: ignore[assignment]
            value = value.index_select(axis, torch.arange(lengths[expression]))
    return value


def _is_short(expression: Any) -> bool:
    """Tell a symbol or a multiple of one, such as three channels of each column."""
    single = len(expression.free_symbols) == 1 and all(each.is_Atom for each in expression.args)
    return bool(expression.is_Atom or (expression.is_Mul and single))


def _tensor(value: Any) -> Any:
    """Return a value as a tensor, int64 where it is sizes."""
    if not isinstance(value, np.ndarray):
        return value
    if isinstance(value, _Constant) and value.tensor is not None:
        return value.tensor
    parts = [torch.scalar_tensor(each, dtype=torch.int64) for each in value.flat]
    return torch.stack(parts).reshape(value.shape)


def _sizes(value: Any) -> list[Any]:
    """Return whole numbers as Python has them; what a tensor holds becomes symbols that are not negative."""
    if isinstance(value, np.ndarray):
        return list(value.flat)
    return [value.item()] if value.numel() == 1 else [each.item() for each in value.unbind()]


def _object(values: Any) -> Sizes:
    return np.asarray(values, dtype=object).view(np.ndarray)


def _each(function: Callable[..., Any]) -> Callable[..., Sizes]:
    """Return a function of sizes of one shape, or of shapes that numpy makes one."""

    def run(*given: Sizes, **_: Any) -> Sizes:
        return _object(np.frompyfunc(function, len(given), 1)(*given))

    return run


def _over(function: Callable[[Any, Any], Any]) -> Callable[..., Sizes]:
    """Return a reduction of sizes over all of their one axis."""

    def run(sizes: Sizes, _: Any, *, keepdims: int) -> Sizes:
        found = reduce(function, sizes.flat)
        return _object([found] if keepdims else found)

    return run


def _gathered(sizes: Sizes, places: Sizes, *, axis: int = 0) -> Sizes:
    return _object(np.take(sizes, places.astype(np.int64), axis=axis))


def _reshaped_sizes(sizes: Sizes, shape: Sizes, **_: Any) -> Sizes | None:
    return _object(sizes.reshape([int(each) for each in shape]))


def _chosen(holds: Any, yes: Any, no: Any) -> Any:
    if isinstance(holds, bool):
        return yes if holds else no
    nothing = yes - yes if isinstance(yes, torch.SymInt) else no - no  # both must be symbols
    return torch.sym_ite(holds, yes + nothing, no + nothing)


_ON_SIZES: Final[dict[str, Callable[..., Any]]] = {
    "Add": _each(operator.add),
    "Sub": _each(operator.sub),
    "Mul": _each(operator.mul),
    "Div": _each(operator.floordiv),
    "Max": _each(torch.sym_max),
    "Min": _each(torch.sym_min),
    "Greater": _each(operator.gt),
    "Where": _each(_chosen),
    "ReduceMin": _over(torch.sym_min),
    "ReduceMax": _over(torch.sym_max),
    "Concat": lambda *sizes, axis: _object(np.concatenate(sizes, axis=axis)),
    "CumSum": lambda sizes, _: _object(np.add.accumulate(sizes)),
    "Gather": _gathered,
    "Reshape": _reshaped_sizes,
    "Unsqueeze": lambda sizes, axes: _object(np.expand_dims(sizes, tuple(axes))),
}


# With sizes beside a tensor


def _shape(value: Tensor, *, start: int = 0, end: int | None = None) -> Sizes:
    return _object(list(value.shape)[start:end])


def _reshape(value: Tensor, shape: Any, *, allowzero: int = 0) -> Tensor:
    wanted = _sizes(shape)
    return value.reshape(
        [
            value.shape[axis] if not allowzero and isinstance(length, int) and length == 0 else length
            for axis, length in enumerate(wanted)
        ]
    )


def _slice(value: Tensor, first: Any, end: Any, axes: Any) -> Tensor:
    (start,), (stop,), (axis,) = _sizes(first), _sizes(end), _sizes(axes)
    if isinstance(start, int) and isinstance(stop, int):
        return value[(slice(None),) * axis + (slice(start, stop),)]
    places = torch.arange(stop - start)
    return value.index_select(axis, places if isinstance(start, int) and start == 0 else places + start)


def _gather(value: Tensor, places: Any, *, axis: int = 0) -> Tensor:
    if isinstance(places, np.ndarray) and places.ndim == 0:
        return value.select(axis, int(places))
    where = _tensor(places)
    taken = value.index_select(axis, where.reshape(-1))
    return taken if where.ndim == 1 else taken.reshape((*value.shape[:axis], *where.shape, *value.shape[axis + 1 :]))


def _best(value: Tensor, count: Any, *, axis: int) -> tuple[Tensor, Tensor]:
    numbers, places = value.sort(dim=axis, descending=True, stable=True)
    (most,) = _sizes(count)
    first = torch.arange(most)
    return numbers.index_select(axis, first), places.index_select(axis, first)


def _pad(value: Tensor, amounts: Any) -> Tensor:
    ends = _sizes(amounts)
    before, after = ends[: len(ends) // 2], ends[len(ends) // 2 :]
    return F.pad(value, [each for pair in zip(before[::-1], after[::-1], strict=True) for each in pair])


def _expand(value: Tensor, shape: Any) -> Tensor:
    return value.expand(*_sizes(shape))


def _range(_: Any, end: Any, __: Any) -> Tensor:
    return torch.arange(_sizes(end)[0])


def _reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(value: Tensor, axes: Any, *, keepdims: int) -> Tensor:
        return function(value, _sizes(axes)[0], keepdim=bool(keepdims))

    return run


def _suppressed(boxes: Tensor, scores: Any, most: Any, overlap: Any, least: Any) -> Tensor:
    """Return (class, 0, place) of the boxes that are left, class by class, the best first."""
    (limit,), (shared,), (floor,) = (_sizes(each) for each in (most, overlap, least))
    # While it is recorded, torchvision's suppression is taken to leave two boxes at least: these, which come last.
    far = torch.tensor([[-9.0, -9.0, -8.0, -8.0], [-7.0, -7.0, -6.0, -6.0]])
    found = []
    for label in range(boxes.shape[0]):
        own = scores[label, 0]
        among = (own > floor).nonzero().reshape(-1)
        some = torch.cat([boxes[label].index_select(0, among), far])
        sure = torch.cat([own.index_select(0, among), far.new_full((2,), -torch.inf)])
        kept = torchvision.ops.nms(some, sure, shared)
        places = among.index_select(0, kept.index_select(0, torch.arange(torch.sym_min(kept.shape[0] - 2, limit))))
        found.append(torch.stack([torch.full_like(places, label), torch.zeros_like(places), places], dim=1))
    return torch.cat(found)


_WITH_SIZES: Final[dict[str, Callable[..., Any]]] = {
    "Shape": _shape,
    "Reshape": _reshape,
    "Slice": _slice,
    "Gather": _gather,
    "TopK": _best,
    "Pad": _pad,
    "Expand": _expand,
    "NonMaxSuppression": _suppressed,
    "Range": _range,
    "Unsqueeze": lambda value, axes: reduce(Tensor.unsqueeze, sorted(_sizes(axes)), value),
    "Squeeze": lambda value, axes: value.squeeze(tuple(_sizes(axes))),
    "CumSum": lambda value, axis: value.cumsum(_sizes(axis)[0]),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceProd": _reduction(torch.prod),
    "ReduceMean": _reduction(torch.mean),
}


# On tensors alone


def _same_pads(value: Tensor, weight: Tensor, strides: Sequence[int]) -> list[Any]:
    """Return the zeros left, right, above and below that make as many cells as there are strides."""
    pads = []
    for axis in (3, 2):
        length, stride, kernel = value.shape[axis], strides[axis - 2], weight.shape[axis]
        total: Any = ((length + stride - 1) // stride - 1) * stride + kernel - length
        total = total if kernel >= stride else torch.sym_max(total, 0)
        pads += [total // 2, total - total // 2]
    return pads


def _conv(
    value: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: list[int],
    dilations: list[int],
    group: int,
    pads: Sequence[int] = (0, 0, 0, 0),
    auto_pad: bytes = b"",
) -> Tensor:
    top, left, bottom, right = pads
    around = _same_pads(value, weight, strides) if auto_pad else [left, right, top, bottom]
    if not auto_pad and (top, left) == (bottom, right):
        return F.conv2d(value, weight, bias, strides, (top, left), dilations, group)
    return F.conv2d(F.pad(value, around), weight, bias, strides, 0, dilations, group)


def _max_pool(
    value: Tensor, *, kernel_shape: list[int], strides: list[int], pads: list[int], dilations: list[int], ceil_mode: int
) -> Tensor:
    return F.max_pool2d(value, kernel_shape, strides, pads[:2], dilations, bool(ceil_mode))


def _gather_nd(value: Tensor, places: Tensor, *, batch_dims: int = 0) -> Tensor:
    own = [torch.arange(value.shape[axis]) for axis in range(batch_dims)]
    return value[(*own, *places.unbind(-1))]


def _scatter_nd(value: Tensor, places: Tensor, updates: Tensor) -> Tensor:
    return value.index_put(places.unbind(-1), updates)


def _cast(value: Tensor, *, to: int) -> Tensor:
    return value.to(torch.from_numpy(np.empty(0, dtype=helper.tensor_dtype_to_np_dtype(to))).dtype)


def _div(one: Tensor, other: Tensor) -> Tensor:
    return one / other if one.is_floating_point() else torch.div(one, other, rounding_mode="trunc")


def _clip(value: Tensor, least: Tensor, most: Tensor) -> Tensor:
    return value.clamp(least, most)


def _batch_norm(
    value: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float
) -> Tensor:
    """Do it by arithmetic: torch's own asks whether the map is empty, which nobody knows of lengths yet to come."""
    factor = weight / torch.sqrt(variance + epsilon)
    return value * factor[:, None, None] + (bias - mean * factor)[:, None, None]


_ON_TENSORS: Final[dict[str, Callable[..., Any]]] = {
    "Conv": _conv,
    "MaxPool": _max_pool,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": lambda value, places, updates, *, axis: value.scatter(axis, places, updates),
    "NonZero": lambda value: value.nonzero().T,
    "Cast": _cast,
    "Div": _div,
    "Clip": _clip,
    "Where": torch.where,
    "Concat": lambda *values, axis: torch.cat(values, dim=axis),
    "Transpose": lambda value, *, perm: value.permute(perm),
    "ArgMin": lambda value, *, axis, keepdims: value.argmin(axis, keepdim=bool(keepdims)),
    "BatchNormalization": _batch_norm,
    "GlobalAveragePool": lambda value: value.mean((2, 3), keepdim=True),
    "HardSigmoid": lambda value, **_: F.hardsigmoid(value),
    "HardSwish": F.hardswish,
    "Softmax": lambda value, *, axis: value.softmax(axis),
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Sqrt": torch.sqrt,
    "Sign": torch.sign,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Ceil": torch.ceil,
    "Abs": torch.abs,
    "Identity": torch.clone,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Mod": torch.remainder,
    "MatMul": torch.matmul,
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Equal": torch.eq,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Not": torch.logical_not,
}
