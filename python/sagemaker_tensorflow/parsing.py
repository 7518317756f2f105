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

    Features of a fixed length, ``tf.io.FixedLenFeature``, are parsed by an op of this package,
    which is several times as fast; all others by ``tf.io.parse_example``::

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
        A dict of tensors. Of a ``FixedLenFeature`` of shape ``s``: of its dtype, with the shape
        ``serialized.shape + s``.

    Raises:
        TypeError: If ``features`` is not a dict.
        ValueError: If ``features`` is empty or a feature is not valid.
        OpLibraryError: If this installation does not fit the TensorFlow found.
        tf.errors.InvalidArgumentError: If an Example lacks a feature without a default value, has
            values of another type or another number of them, or is no serialized Example; the
            message names Example and feature.
    """
    if not isinstance(features, Mapping):
        raise TypeError(f"features must be a dict, not {type(features).__name__}")
    if not features:
        raise ValueError("features must name what to parse; it is empty")
    if example_names is not None:
        return dict(tf.io.parse_example(serialized, features, example_names, name))
    ours = {key: feature for key, feature in features.items() if _is_ours(feature)}
    others = {key: feature for key, feature in features.items() if key not in ours}
    parsed: dict[str, Any] = {}
    with tf.name_scope(name or "ParseExample"):
        serialized = tf.convert_to_tensor(serialized, tf.string)
        if ours:
            parsed.update(_parse(serialized, ours))
        if others:
            parsed.update(tf.io.parse_example(serialized, others))
    return {key: parsed[key] for key in sorted(parsed)}


def _is_ours(feature: Any) -> bool:
    """Whether the op can parse ``feature``; what it makes of wrong ones is TensorFlow's to say."""
    if not isinstance(feature, tf.io.FixedLenFeature) or feature.dtype not in _TYPES:
        return False
    shape = tf.TensorShape(feature.shape)
    return bool(shape.is_fully_defined()) and math.prod(shape.as_list()) > 0


def _parse(serialized: tf.Tensor, features: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    values = op_library.load().pipe_mode_parse_example(
        serialized=serialized,
        defaults=[_default(key, feature) for key, feature in features.items()],
        names=list(features),
        shapes=[feature.shape for feature in features.values()],
    )
    return dict(zip(features, values, strict=True))


def _default(key: str, feature: Any) -> tf.Tensor:
    """Returns the values of a feature that is missing; none if it must not be."""
    if feature.default_value is None:
        return tf.constant([], feature.dtype)
    value = tf.convert_to_tensor(feature.default_value, feature.dtype)
    shape = tf.TensorShape(feature.shape)
    if value.shape.num_elements() not in (None, shape.num_elements()):
        raise ValueError(
            f"feature {key!r}: the default value of shape {value.shape} does not fit shape {shape}"
        )
    return tf.reshape(value, shape)
