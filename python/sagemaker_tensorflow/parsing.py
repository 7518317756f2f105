# SPDX-License-Identifier: Apache-2.0
"""``parse_example``: ``tf.io.parse_example`` in a fraction of the time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sagemaker_tensorflow._op import op_library
from sagemaker_tensorflow.exceptions import OpLibraryError

try:
    import tensorflow as tf
except ImportError as error:
    raise OpLibraryError(
        "parse_example needs TensorFlow, which cannot be imported; install it with "
        "'pip install tensorflow-cpu' (CPU) or 'pip install tensorflow' (GPU)"
    ) from error

__all__ = ["parse_example"]

_TYPES = (tf.float32, tf.int64, tf.string)


def parse_example(
    serialized: Any,
    features: Mapping[str, Any],
    example_names: Any = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Parses serialized ``tf.train.Example`` messages, as ``tf.io.parse_example`` does.

    The arguments, the results and their shapes are the same, and so is what is an error, for all
    Examples that libraries write; docs/formats.md lists the others. For one, where a feature stands
    twice in an Example, TensorFlow looks at the last one alone, and here the first one must fit,
    too.

    An op of this package, which is several times as fast, parses ``tf.io.FixedLenFeature``,
    ``tf.io.VarLenFeature``, ``tf.io.FixedLenSequenceFeature`` and ``tf.io.RaggedFeature`` without
    partitions; ``tf.io.parse_example`` parses all others::

        ds = PipeModeDataset('training', 'TFRecord').batch(64)
        ds = ds.map(lambda records: parse_example(records, FEATURES), num_parallel_calls=AUTOTUNE)

    One call uses one core; ``num_parallel_calls`` of ``map`` makes it several.

    For input pipelines only: a model that is saved with it in a signature can be loaded only where
    this package is installed. There use ``tf.io.parse_example``.

    Args:
        serialized: ``tf.string`` tensor of Examples: a vector as ``batch`` makes it, or a scalar.
        features: What to parse, from names to ``tf.io.FixedLenFeature``, ``tf.io.VarLenFeature``
            and so on.
        example_names: Names of the Examples for TensorFlow's messages; with them TensorFlow parses
            everything.
        name: A name for the operation.

    Returns:
        A dict of tensors, each of its feature's dtype:

        - of a ``FixedLenFeature`` of shape ``s`` a ``tf.Tensor`` of shape ``serialized.shape + s``;
        - of a ``VarLenFeature`` a ``tf.sparse.SparseTensor`` of shape ``serialized.shape + [n]``,
          ``n`` being the largest number of values in the batch;
        - of a ``FixedLenSequenceFeature`` of shape ``s`` a ``tf.Tensor`` of shape
          ``serialized.shape + [n] + s``, filled up with its default value;
        - of a ``RaggedFeature`` a ``tf.RaggedTensor`` of shape ``serialized.shape + [None]``; of a
          scalar a ``tf.Tensor`` of shape ``[n]``.

    Raises:
        TypeError: If ``features`` is not a dict.
        ValueError: If ``features`` is empty or a feature is not valid; or if one is ragged and the
            rank of ``serialized`` is not known.
        OpLibraryError: If this installation does not fit the TensorFlow found.
        tf.errors.InvalidArgumentError: If an Example lacks a feature without a default value, has
            values of another type or another number of them, or is no serialized Example; the
            message names Example and feature.
    """
    if not isinstance(features, Mapping):
        raise TypeError(f"features must be a dict, not {type(features).__name__}")
    if not features:
        raise ValueError("features must name what to parse; it is empty")
    kinds = {key: _kind(key, feature) for key, feature in features.items()}
    names = [name for key, feature in features.items() for name in _names(key, feature)]
    if example_names is not None or len(set(names)) < len(names):
        return dict(tf.io.parse_example(serialized, features, example_names, name))
    others = {key: feature for key, feature in features.items() if kinds[key] is None}
    parsed: dict[str, Any] = {}
    with tf.name_scope(name or "ParseExample"):
        serialized = tf.convert_to_tensor(serialized, tf.string)
        if len(others) < len(features):
            parsed.update(_parse(serialized, features, kinds))
        if others:
            parsed.update(tf.io.parse_example(serialized, others))
    return {key: parsed[key] for key in sorted(parsed)}


def _kind(key: str, feature: Any) -> Any:
    """The kind of a feature that the op can parse; what it makes of others TensorFlow says."""
    if getattr(feature, "dtype", None) not in _TYPES:
        return None
    if isinstance(feature, tf.io.VarLenFeature):
        return tf.io.VarLenFeature
    if isinstance(feature, tf.io.RaggedFeature):
        plain = not feature.partitions and feature.row_splits_dtype in (tf.int32, tf.int64)
        return tf.io.RaggedFeature if plain else None
    if isinstance(feature, tf.io.FixedLenSequenceFeature):
        if tf.TensorShape(feature.shape).num_elements() == 0:
            # It would end the process in TensorFlow, by a division by zero.
            raise ValueError(f"feature {key!r}: the shape {feature.shape} has no values")
        fits = feature.allow_missing and _has_values(feature.shape)
        return tf.io.FixedLenSequenceFeature if fits else None
    if isinstance(feature, tf.io.FixedLenFeature):
        return tf.io.FixedLenFeature if _has_values(feature.shape) else None
    return None


def _has_values(shape: Any) -> bool:
    shape = tf.TensorShape(shape)
    return bool(shape.is_fully_defined()) and math.prod(shape.as_list()) > 0


def _name(key: str, feature: Any) -> str:
    """What a feature is called in the Examples."""
    return getattr(feature, "value_key", None) or key


def _names(key: str, feature: Any) -> list[str]:
    """All names in the Examples that a feature is made of."""
    indices = getattr(feature, "index_key", None) or []
    partitions = getattr(feature, "partitions", None) or []
    return [
        _name(key, feature),
        *([indices] if isinstance(indices, str) else indices),
        *(partition.key for partition in partitions if hasattr(partition, "key")),
    ]


def _parse(
    serialized: tf.Tensor, features: Mapping[str, Any], kinds: Mapping[str, Any]
) -> dict[str, Any]:
    fixed, sparse, ragged, padded = (
        {key: feature for key, feature in features.items() if kinds[key] is kind}
        for kind in (
            tf.io.FixedLenFeature,
            tf.io.VarLenFeature,
            tf.io.RaggedFeature,
            tf.io.FixedLenSequenceFeature,
        )
    )
    if ragged and serialized.shape.rank is None:
        raise ValueError("the rank of serialized must be known to parse ragged features")
    outputs = op_library.load().pipe_mode_parse_example(
        serialized=serialized,
        names=list(fixed),
        defaults=[_default(key, feature) for key, feature in fixed.items()],
        shapes=[feature.shape for feature in fixed.values()],
        num_sparse=len(sparse),
        sparse_names=list(sparse),
        sparse_types=[feature.dtype for feature in sparse.values()],
        ragged_names=[_name(key, feature) for key, feature in ragged.items()],
        ragged_types=[feature.dtype for feature in ragged.values()],
        ragged_split_types=[feature.row_splits_dtype for feature in ragged.values()],
        padded_names=list(padded),
        paddings=[_padding(feature) for feature in padded.values()],
        padded_shapes=[feature.shape for feature in padded.values()],
    )
    parsed: dict[str, Any] = dict(zip(fixed, outputs.values, strict=True))
    parsed |= zip(padded, outputs.padded_values, strict=True)
    for key, *parts in zip(
        sparse, outputs.sparse_indices, outputs.sparse_values, outputs.sparse_shapes, strict=True
    ):
        parsed[key] = tf.SparseTensor(*parts)
    for key, values, splits in zip(
        ragged, outputs.ragged_values, outputs.ragged_splits, strict=True
    ):
        if serialized.shape.rank == 0:
            parsed[key] = values
        else:
            parsed[key] = tf.RaggedTensor.from_row_splits(values, splits, validate=False)
    return parsed


def _default(key: str, feature: Any) -> tf.Tensor:
    """Returns the values of a feature that is missing; none if it must not be."""
    if feature.default_value is None:
        return tf.constant([], feature.dtype)
    value = tf.convert_to_tensor(feature.default_value, feature.dtype)
    shape = tf.TensorShape(feature.shape)
    if tf.is_tensor(feature.default_value):  # which TensorFlow does not reshape
        if value.shape == [0]:
            return value
        fits = value.shape.is_compatible_with(shape)
    else:
        fits = value.shape.num_elements() == shape.num_elements()
    if not fits:
        raise ValueError(
            f"feature {key!r}: the default value of shape {value.shape} does not fit shape {shape}"
        )
    return tf.reshape(value, shape)


def _padding(feature: Any) -> tf.Tensor:
    """Returns the value that fills up the shorter rows of a ``FixedLenSequenceFeature``."""
    value = feature.default_value
    if value is None:
        value = "" if feature.dtype == tf.string else 0
    return tf.reshape(tf.convert_to_tensor(value, feature.dtype), [])
