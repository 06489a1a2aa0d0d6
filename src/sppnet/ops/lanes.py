"""Vectors of whole numbers for numba: what its own loops do not compile to, wide registers and stores past the cache.

A *vector* holds so many neighbours of an array, counted in bytes by a constant. Floating-point numbers are compared
as whole numbers, *ranks*, of the same order, in which NaN is largest and both zeros are one: the maximum of two is
then a single instruction that loses no NaN.

numba's cache on disk does not notice changes here: touch ``cpu_numba.py`` after one.
"""

from typing import Any, Final

from llvmlite import ir
from numba import extending, types

LINE: Final = 64  # bytes of a line of the cache
intrinsic: Any = extending.intrinsic  # for numba a function of vectors, for mypy of anything

Coded = tuple[Any, Any]


class Vector(types.Type):  # numba has no types of its own
    """The type, to numba, of ``count`` whole numbers of ``bits`` each."""

    def __init__(self, bits: int, count: int) -> None:
        self.bits, self.count = bits, count
        super().__init__(name=f"Vector({bits}, {count})")


@extending.register_model(Vector)
class _VectorModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(kind.bits), kind.count))  # type: ignore[no-untyped-call]


def _address(context: Any, builder: Any, array_type: Any, array: Any, place: Any, kind: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), kind.as_pointer())


def _splat(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _spread(builder: Any, number: Any, kind: Any) -> Any:
    narrow = builder.trunc(number, kind.element) if kind.element.width < number.type.width else number
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), narrow, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


@intrinsic(prefer_literal=True)
def load(typing: Any, array: Any, place: Any, width: Any) -> Coded:  # noqa: ARG001
    """Return the vector of ``width`` bytes, a constant, that begins at array[place]."""
    bits = array.dtype.bitwidth
    vector = Vector(bits, width.literal_value * 8 // bits)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(vector)
        address = _address(context, builder, signature.args[0], values[0], values[1], kind)
        return builder.load(address, align=bits // 8)

    return vector(array, types.intp, width), code


@intrinsic
def store(typing: Any, array: Any, place: Any, vector: Any) -> Coded:  # noqa: ARG001
    """Write a vector to array[place] and what follows."""
    return types.void(array, types.intp, vector), _storing(array.dtype.bitwidth // 8, past_cache=False)


@intrinsic
def stream(typing: Any, array: Any, place: Any, vector: Any) -> Coded:  # noqa: ARG001
    """Write as ``store`` does, past the cache, where array[place] begins a line; ``settle`` before others read."""
    return types.void(array, types.intp, vector), _storing(LINE, past_cache=True)


def _storing(alignment: int, *, past_cache: bool) -> Any:
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _address(context, builder, signature.args[0], values[0], values[1], values[2].type)
        stored = builder.store(values[2], address, align=alignment)
        if past_cache:
            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return code


@intrinsic
def settle(typing: Any) -> Coded:  # noqa: ARG001
    """Wait until what was streamed can be read by all threads."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def ranks(typing: Any, numbers: Any, infinity: Any) -> Coded:  # noqa: ARG001
    """Turn the bits of floating-point numbers into ranks; ``infinity`` are the bits of plus infinity."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        bits, kind = values[0], values[0].type
        top = _splat(kind, (1 << (kind.element.width - 1)) - 1)
        sign, magnitude = builder.ashr(bits, _splat(kind, kind.element.width - 1)), builder.and_(bits, top)
        signed = builder.sub(builder.xor(magnitude, sign), sign)
        limit = _spread(builder, values[1], kind)
        return builder.select(builder.icmp_signed(">", magnitude, limit), top, signed)

    return numbers(numbers, types.intp), code


@intrinsic
def numbers_of(typing: Any, ranked: Any) -> Coded:  # noqa: ARG001
    """Turn ranks into the bits of floating-point numbers again."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        rank, kind = values[0], values[0].type
        sign = builder.ashr(rank, _splat(kind, kind.element.width - 1))
        magnitude = builder.sub(builder.xor(rank, sign), sign)
        return builder.or_(magnitude, builder.and_(sign, _splat(kind, -1 << (kind.element.width - 1))))

    return ranked(ranked), code


@intrinsic
def larger(typing: Any, first: Any, second: Any) -> Coded:  # noqa: ARG001
    """Return the larger of each two."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        return builder.select(builder.icmp_signed(">", *values), *values)

    return first(first, first), code


@intrinsic
def spread(typing: Any, number: Any, like: Any) -> Coded:  # noqa: ARG001
    """Return a vector, of the type of another, of one number over and over."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        return _spread(builder, values[0], values[1].type)

    return like(types.intp, like), code


@intrinsic
def place_of_larger(typing: Any, rank: Any, best: Any, place: Any, best_place: Any) -> Coded:  # noqa: ARG001
    """Return of each two places that of the larger rank, of equal ones the smaller place."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:  # noqa: ARG001
        here, champion, mine, its = values
        earlier = builder.and_(builder.icmp_signed("==", here, champion), builder.icmp_signed("<", mine, its))
        return builder.select(builder.or_(builder.icmp_signed(">", here, champion), earlier), mine, its)

    return rank(rank, rank, rank, rank), code
