# SPDX-License-Identifier: Apache-2.0
"""How the ops of a function of one record are made for a batch of records.

There is a rule for an op only where its result for a batch is, bit for bit, the results for each of
the records. So there is none for arithmetic that rounds differently where several values go through
the processor at once (``exp``, ``sqrt``, sums of floats) or that leaves NaN open (``maximum``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._op import op_library

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()


class NoBatchFormError(Exception):
    """A function cannot be made for batches; the message says why."""


class Value(NamedTuple):
    """What a tensor of the function has become.

    Attributes:
        tensor: The tensor.
        is_stacked: Whether it has the records as its first dimension; else it is that of each.
    """

    tensor: tf.Tensor
    is_stacked: bool


class Call:
    """An op of the function, whose inputs are made for the batch already.

    Args:
        op: The op.
        inputs: What its inputs have become; one at least is stacked.
        size: How many records the batch has, a scalar of ``tf.int32``.
    """

    def __init__(self, op: tf.Operation, inputs: Sequence[Value], size: tf.Tensor) -> None:
        self.op = op
        self.inputs = inputs
        self.size = size

    def make(self, tensors: Iterable[tf.Tensor]) -> list[tf.Tensor]:
        """Makes the op with other inputs; returns its outputs."""
        return copy(self.op, tensors)

    def make_of_first(self) -> list[tf.Tensor]:
        """Makes the op where only its first input depends on the record."""
        rest = [self.common(number) for number in range(1, len(self.inputs))]
        return self.make([self.stacked(0), *rest])

    def attribute(self, name: str) -> Any:
        """The value of an attribute of the op."""
        return self.op.get_attr(name)

    def rank(self, number: int) -> int:
        """The rank of an input, of one record."""
        rank = self.op.inputs[number].shape.rank
        if rank is None:
            raise self.error("the rank of its input is not known")
        return int(rank)

    def stacked(self, number: int) -> tf.Tensor:
        """An input of which each record must have its own."""
        value = self.inputs[number]
        if not value.is_stacked:
            raise self.error("it mixes what is of a record with what is not")
        return value.tensor

    def common(self, number: int) -> tf.Tensor:
        """An input that must be the same for all records."""
        value = self.inputs[number]
        if value.is_stacked:
            raise self.error("an input that has to be constant depends on the record")
        return value.tensor

    def constant(self, number: int) -> Any:
        """The value of an input that must be constant, as a NumPy array."""
        value = tf.get_static_value(self.op.inputs[number])
        if value is None:
            raise self.error("an input that has to be constant is not")
        return value

    def spread(self, number: int) -> tf.Tensor:
        """An input for each record, repeated if it is the same for all."""
        value = self.inputs[number]
        return value.tensor if value.is_stacked else spread(value.tensor, self.size)

    def aligned(self) -> list[tf.Tensor]:
        """The inputs so that they broadcast as those of one record do."""
        if len(self.inputs) == 1:
            return [self.inputs[0].tensor]
        ranks = [self.rank(number) for number in range(len(self.inputs))]
        tensors = []
        for value, rank in zip(self.inputs, ranks, strict=True):
            tensor = value.tensor
            for _ in range(max(ranks) - rank if value.is_stacked else 0):
                tensor = tf.expand_dims(tensor, 1)
            tensors.append(tensor)
        return tensors

    def axis(self, axis: int, number: int, more: int = 0) -> int:
        """Where dimension ``axis`` of an input, which may get ``more``, is in the batch."""
        rank = self.rank(number) + more
        if not -rank <= axis < rank:
            raise self.error("there is no such dimension")
        return axis % rank + 1

    def error(self, reason: str) -> NoBatchFormError:
        return NoBatchFormError(f"op {self.op.type} ('{self.op.name}'): {reason}")


Rule = Callable[[Call], Any]
RULES: dict[str, Rule] = {}


def copy(op: tf.Operation, tensors: Iterable[tf.Tensor]) -> list[tf.Tensor]:
    """Makes an op like ``op`` in the graph being built; returns its outputs."""
    made = tf.compat.v1.get_default_graph().create_op(
        op.type,
        list(tensors),
        [output.dtype for output in op.outputs],
        attrs={name: op.node_def.attr[name] for name in op.node_def.attr if name[0] != "_"},
        op_def=op.op_def,
    )
    return list(made.outputs)


def spread(tensor: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Repeats what is the same for all records."""
    return tf.broadcast_to(tensor, tf.concat([[size], tf.shape(tensor)], 0))


def _rule(*types: str) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(types, rule))
        return rule

    return add


_FLOATS = frozenset({tf.float32, tf.float64})
_INTS = frozenset(
    {tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64}
)
_NUMBERS = _FLOATS | _INTS
_ANY = _NUMBERS | {tf.bool, tf.string}

# Ops that go element by element, with the types of their first input.
_ELEMENTWISE = {
    "Abs AddV2 Add Sub Mul Div RealDiv DivNoNan FloorDiv FloorMod Mod Neg Square SquaredDifference"
    " TruncateDiv TruncateMod Less LessEqual Greater GreaterEqual": _NUMBERS,
    "Ceil Floor Rint IsFinite IsInf IsNan": _FLOATS,
    "BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift Maximum Minimum Relu Sign": _INTS,
    "LogicalAnd LogicalNot LogicalOr": {tf.bool},
    "SelectV2": {tf.bool},
    "OnesLike ZerosLike": _ANY,
    "AsString": _NUMBERS | {tf.bool},
    "DecodeBase64 DecodeCompressed DecodeRaw EncodeBase64 StaticRegexFullMatch StaticRegexReplace"
    " StringLength StringLower StringStrip StringToHashBucket StringToHashBucketFast"
    " StringToHashBucketStrong StringToNumber StringUpper UnicodeTranscode": {tf.string},
}


def _elementwise(types: Set[tf.DType]) -> Rule:
    def rule(call: Call) -> list[tf.Tensor]:
        dtype = call.op.inputs[0].dtype
        if dtype not in types:
            raise call.error(f"{dtype.name} values may come out differently in batches")
        return call.make(call.aligned())

    return rule


for _names, _types in _ELEMENTWISE.items():
    _rule(*_names.split())(_elementwise(_types))


@_rule("Identity", "IdentityN", "PreventGradient", "Snapshot", "StopGradient")
def _identity(call: Call) -> list[Value]:
    return list(call.inputs)


@_rule("Equal", "NotEqual")
def _equal(call: Call) -> list[tf.Tensor]:
    # Of shapes that do not fit, == makes False instead of an error.
    first, second = (tensor.shape for tensor in call.op.inputs)
    if not (first.is_fully_defined() and second.is_fully_defined()):
        raise call.error("the shapes of its inputs are not known")
    tf.broadcast_static_shape(first, second)
    return call.make(call.aligned())


@_rule("Cast")
def _cast(call: Call) -> list[tf.Tensor]:
    source, target = call.op.inputs[0].dtype, call.op.outputs[0].dtype
    # A float that does not fit becomes what the processor makes of it.
    fits = target in _FLOATS | {tf.bool, tf.int32, tf.int64} or source in _INTS | {tf.bool}
    if source not in _NUMBERS | {tf.bool} or not fits or target not in _NUMBERS | {tf.bool}:
        raise call.error(
            f"{source.name} values may come out differently as {target.name} in batches"
        )
    return call.make([call.stacked(0)])


@_rule("Select")
def _select(call: Call) -> list[tf.Tensor]:
    if len({call.rank(number) for number in range(3)}) > 1:
        raise call.error("condition and values have different ranks")
    return call.make(call.spread(number) for number in range(3))


_rule("DecodePaddedRaw", "RegexFullMatch", "RegexReplace")(Call.make_of_first)


@_rule("Substr")
def _substr(call: Call) -> list[tf.Tensor]:
    if call.rank(1) or call.rank(2):
        raise call.error("position and length are not scalars")
    return call.make_of_first()


@_rule("StringJoin")
def _string_join(call: Call) -> list[tf.Tensor]:
    ranks = {call.rank(number) for number, value in enumerate(call.inputs) if value.is_stacked}
    if len(ranks) > 1 or any(
        not value.is_stacked and call.rank(number) for number, value in enumerate(call.inputs)
    ):
        raise call.error("its inputs have different ranks")
    return call.make(value.tensor for value in call.inputs)


@_rule("DecodeCSV")
def _decode_csv(call: Call) -> list[tf.Tensor]:
    if call.rank(0):
        raise call.error("its input is not one line")
    return call.make_of_first()


@_rule("ParseExampleV2")
def _parse_example(call: Call) -> list[tf.Tensor]:
    shapes = [tf.TensorShape(shape) for shape in call.attribute("dense_shapes")]
    lists = call.attribute("num_sparse") + len(call.attribute("ragged_value_types"))
    if call.rank(0) or lists or not all(shape.is_fully_defined() for shape in shapes):
        raise call.error("it parses features that have not a fixed length")
    names, keys = call.constant(1), [key.decode() for key in call.constant(3).tolist()]
    is_ours = (
        names.size == 0
        and len(set(keys)) == len(keys)
        and all(math.prod(shape.as_list()) > 0 for shape in shapes)
    )
    if not is_ours:
        return call.make_of_first()
    parsed = op_library.load().pipe_mode_parse_example(
        serialized=call.stacked(0),
        names=keys,
        defaults=[call.common(number) for number in range(5, len(call.inputs))],
        paddings=[],
        shapes=shapes,
        num_sparse=0,
        # Where TensorFlow may read an Example in another way, TensorFlow is to read it.
        is_strict=True,
    )
    return list(parsed.values)


# Dimensions: the records come first, so all others move on by one.


@_rule("Reshape")
def _reshape(call: Call) -> list[tf.Tensor]:
    shape = call.common(1)
    return [tf.reshape(call.stacked(0), tf.concat([[tf.cast(call.size, shape.dtype)], shape], 0))]


@_rule("EnsureShape")
def _ensure_shape(call: Call) -> list[tf.Tensor]:
    shape = tf.TensorShape(call.attribute("shape"))
    return [tf.ensure_shape(call.stacked(0), tf.TensorShape([None]).concatenate(shape))]


@_rule("ExpandDims")
def _expand_dims(call: Call) -> list[tf.Tensor]:
    return [tf.expand_dims(call.stacked(0), call.axis(int(call.constant(1)), 0, more=1))]


@_rule("Squeeze")
def _squeeze(call: Call) -> list[tf.Tensor]:
    axes = [call.axis(axis, 0) for axis in call.attribute("squeeze_dims")]
    shape = call.op.inputs[0].shape
    if not axes:
        if not shape.is_fully_defined():
            raise call.error("which dimensions it removes is not known")
        axes = [number + 1 for number, length in enumerate(shape.as_list()) if length == 1]
    return [tf.squeeze(call.stacked(0), axes) if axes else call.stacked(0)]


@_rule("Slice")
def _slice(call: Call) -> list[tf.Tensor]:
    begin, length = call.common(1), call.common(2)
    return [
        tf.slice(
            call.stacked(0),
            tf.concat([tf.zeros([1], begin.dtype), begin], 0),
            tf.concat([-tf.ones([1], length.dtype), length], 0),
        )
    ]


@_rule("StridedSlice")
def _strided_slice(call: Call) -> list[tf.Tensor]:
    begin, end, strides = (call.common(number) for number in (1, 2, 3))
    zero, one = tf.zeros([1], begin.dtype), tf.ones([1], begin.dtype)
    masks = {
        name: call.attribute(name) << 1
        for name in ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    }
    masks["begin_mask"] |= 1
    masks["end_mask"] |= 1
    return [
        tf.raw_ops.StridedSlice(
            input=call.stacked(0),
            begin=tf.concat([zero, begin], 0),
            end=tf.concat([zero, end], 0),
            strides=tf.concat([one, strides], 0),
            **masks,
        )
    ]


@_rule("GatherV2")
def _gather(call: Call) -> list[tf.Tensor]:
    params, indices = call.inputs[:2]
    axis = call.axis(int(call.constant(2)), 0)
    if call.attribute("batch_dims"):
        raise call.error("it has dimensions of a batch")
    if not params.is_stacked and axis == 1:
        return [tf.gather(params.tensor, indices.tensor)]
    if not indices.is_stacked:
        return [tf.gather(params.tensor, indices.tensor, axis=axis)]
    raise call.error("both inputs depend on the record")


@_rule("GatherNd")
def _gather_nd(call: Call) -> list[tf.Tensor]:
    return call.make([call.common(0), call.stacked(1)])


@_rule("ConcatV2")
def _concat(call: Call) -> list[tf.Tensor]:
    count = len(call.inputs) - 1
    axis = call.axis(int(call.constant(count)), 0)
    return [tf.concat([call.spread(number) for number in range(count)], axis)]


@_rule("Pack")
def _pack(call: Call) -> list[tf.Tensor]:
    values = [call.spread(number) for number in range(len(call.inputs))]
    return [tf.stack(values, call.axis(call.attribute("axis"), 0, more=1))]


@_rule("Unpack")
def _unpack(call: Call) -> list[tf.Tensor]:
    axis = call.axis(call.attribute("axis"), 0)
    return list(tf.unstack(call.stacked(0), call.attribute("num"), axis))


@_rule("Split")
def _split(call: Call) -> list[tf.Tensor]:
    axis = call.axis(int(call.constant(0)), 1)
    return list(tf.split(call.stacked(1), call.attribute("num_split"), axis))


@_rule("SplitV")
def _split_v(call: Call) -> list[tf.Tensor]:
    axis = call.axis(int(call.constant(2)), 0)
    return list(tf.split(call.stacked(0), call.common(1), axis, num=call.attribute("num_split")))


@_rule("Transpose")
def _transpose(call: Call) -> list[tf.Tensor]:
    order = [call.axis(int(axis), 0) for axis in call.constant(1)]
    return [tf.transpose(call.stacked(0), [0, *order])]


@_rule("OneHot")
def _one_hot(call: Call) -> list[tf.Tensor]:
    depth, on_value, off_value = (call.common(number) for number in (1, 2, 3))
    axis = call.axis(call.attribute("axis"), 0, more=1)
    return [
        tf.raw_ops.OneHot(
            indices=call.stacked(0), depth=depth, on_value=on_value, off_value=off_value, axis=axis
        )
    ]


@_rule("BroadcastTo")
def _broadcast_to(call: Call) -> list[tf.Tensor]:
    tensor, shape = call.stacked(0), call.common(1)
    rank = call.op.inputs[1].shape.num_elements()
    if rank is None:
        raise call.error("the rank of its result is not known")
    for _ in range(rank - call.rank(0)):
        tensor = tf.expand_dims(tensor, 1)
    return [tf.broadcast_to(tensor, tf.concat([[tf.cast(call.size, shape.dtype)], shape], 0))]


@_rule("Tile")
def _tile(call: Call) -> list[tf.Tensor]:
    multiples = call.common(1)
    return [tf.tile(call.stacked(0), tf.concat([tf.ones([1], multiples.dtype), multiples], 0))]


@_rule("MirrorPad", "Pad", "PadV2")
def _pad(call: Call) -> list[tf.Tensor]:
    paddings = call.common(1)
    paddings = tf.concat([tf.zeros([1, 2], paddings.dtype), paddings], 0)
    return call.make(
        [call.stacked(0), paddings, *(call.common(n) for n in range(2, len(call.inputs)))]
    )


@_rule("ReverseV2")
def _reverse(call: Call) -> list[tf.Tensor]:
    return [tf.reverse(call.stacked(0), [call.axis(int(axis), 0) for axis in call.constant(1)])]


@_rule("All", "Any", "Max", "Min", "Prod", "Sum")
def _reduce(call: Call) -> list[tf.Tensor]:
    if call.op.inputs[0].dtype not in _INTS | {tf.bool}:
        raise call.error("floats may be added in another order in batches")
    axes = tf.constant([call.axis(int(axis), 0) for axis in call.constant(1).flat], tf.int32)
    if call.op.inputs[1].dtype != tf.int32:
        axes = tf.cast(axes, call.op.inputs[1].dtype)
    return call.make([call.stacked(0), axes])


# What is known of a tensor without its values is the same for all records.


@_rule("Shape")
def _shape(call: Call) -> list[Value]:
    return [Value(tf.shape(call.stacked(0), call.attribute("out_type"))[1:], False)]


@_rule("Size")
def _size(call: Call) -> list[Value]:
    shape = tf.shape(call.stacked(0), call.attribute("out_type"))[1:]
    return [Value(tf.reduce_prod(shape), False)]


@_rule("Rank")
def _rank(call: Call) -> list[Value]:
    return [Value(tf.rank(call.stacked(0)) - 1, False)]
