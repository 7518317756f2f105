# SPDX-License-Identifier: Apache-2.0
"""Makes a function of one record a function of a batch of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._vectorize import rules
from sagemaker_tensorflow._vectorize.rules import Call, NoBatchFormError, Value

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_XLA = "_XlaMustCompile"
_OPAQUE = frozenset({tf.resource, tf.variant})


def batch_form(function: Any) -> Any:
    """Returns what does for a batch of records what ``function`` does for one.

    Args:
        function: A ``tf.types.experimental.ConcreteFunction`` of scalars of ``tf.string``.

    Returns:
        One of vectors of ``tf.string``, one or more records in each. Its results are those of
        ``function`` for each record, stacked; it fails wherever ``function`` does for one of them.

    Raises:
        NoBatchFormError: If there is no such function, or it may be another one in some case.
    """
    graph = function.graph
    _refuse_effects(graph)
    count = len(graph.inputs) - len(function.captured_inputs)

    def of_batch(*records: tf.Tensor) -> list[tf.Tensor]:
        size = tf.shape(records[0])[0]
        captured = [Value(tensor, False) for tensor in function.captured_inputs]
        inputs = [*(Value(tensor, True) for tensor in records), *captured]
        return [
            value.tensor if value.is_stacked else rules.spread(value.tensor, size)
            for value in _run(graph, inputs, size)
        ]

    signature = [tf.TensorSpec([None], tf.string)] * count
    traced = tf.function(of_batch, input_signature=signature, autograph=False)
    try:
        return traced.get_concrete_function()
    except NoBatchFormError:
        raise
    except Exception as error:  # the script has done nothing wrong
        raise NoBatchFormError(f"it cannot be traced for batches: {error!r}") from error


def _refuse_effects(graph: tf.Graph) -> None:
    """Raises if an op has more to it than its results, which tf.data runs even if none are used."""
    for op in graph.get_operations():
        if op.type in _CALLS:
            _refuse_effects(_body(op))
        elif op.op_def.is_stateful and op.type != "Placeholder":
            raise NoBatchFormError(f"op {op.type} ('{op.name}') has a state or an effect")


def _run(graph: tf.Graph, inputs: Sequence[Value], size: tf.Tensor) -> list[Value]:
    """Makes the ops that the outputs of ``graph`` need, in the graph being built."""
    made = {tensor.name: value for tensor, value in zip(graph.inputs, inputs, strict=True)}
    needed = _needed(graph)
    # A graph has its ops in the order in which they were made: inputs first.
    for op in graph.get_operations():
        if op.name not in needed or all(output.name in made for output in op.outputs):
            continue
        outputs = _make(op, [made[tensor.name] for tensor in op.inputs], size)
        for tensor, value in zip(op.outputs, outputs, strict=True):
            shape = tensor.shape
            if value.is_stacked:
                shape = tf.TensorShape([None]).concatenate(shape)
            value.tensor.set_shape(shape)
            made[tensor.name] = value
    return [made[tensor.name] for tensor in graph.outputs]


def _needed(graph: tf.Graph) -> set[str]:
    """The names of the ops that the outputs of ``graph`` come from."""
    needed: set[str] = set()
    waiting = [tensor.op for tensor in graph.outputs]
    while waiting:
        op = waiting.pop()
        if op.name not in needed:
            needed.add(op.name)
            waiting += [tensor.op for tensor in op.inputs]
    return needed


def _make(op: tf.Operation, inputs: list[Value], size: tf.Tensor) -> list[Value]:
    if any(tensor.dtype in _OPAQUE for tensor in [*op.inputs, *op.outputs]):
        raise NoBatchFormError(f"op {op.type} ('{op.name}') works on more than values")
    if op.device and "CPU" not in op.device.upper():
        raise NoBatchFormError(f"op {op.type} ('{op.name}') is for {op.device}")
    if op.type in _CALLS:
        return _run(_body(op), inputs, size)
    if not any(value.is_stacked for value in inputs):
        return [Value(tensor, False) for tensor in rules.copy(op, [v.tensor for v in inputs])]
    if op.type not in rules.RULES:
        raise NoBatchFormError(f"op {op.type} ('{op.name}') is not one that is known for batches")
    return [
        made if isinstance(made, Value) else Value(made, True)
        for made in rules.RULES[op.type](Call(op, inputs, size))
    ]


def _body(op: tf.Operation) -> Any:
    """The graph of the function that an op calls."""
    function = op.graph._get_function(op.get_attr("f").name)
    graph = getattr(function, "graph", None)
    if graph is None:
        raise NoBatchFormError(f"op {op.type} ('{op.name}') calls what cannot be looked into")
    definition = getattr(function, "function_def", None) or function.definition
    if any(attributes[_XLA].b for attributes in (op.node_def.attr, definition.attr)):
        raise NoBatchFormError(f"op {op.type} ('{op.name}') calls what XLA compiles")
    return graph
