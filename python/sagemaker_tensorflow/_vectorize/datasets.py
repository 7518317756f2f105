# SPDX-License-Identifier: Apache-2.0
"""Datasets that note what a script does to records, and do it a batch at a time."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._op import op_library
from sagemaker_tensorflow._vectorize.batch_form import batch_form
from sagemaker_tensorflow._vectorize.rules import NoBatchFormError

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()

_LOG = logging.getLogger(__name__)

VARIABLE = "SAGEMAKER_TENSORFLOW_VECTORIZE_MAP"

# How large batches may be that are made at once, about.
_BYTES_AT_ONCE = 256 << 20

# Transformations that leave records what they are.
_OF_RECORDS = (
    "cache", "filter", "prefetch", "repeat", "shard", "shuffle", "skip", "take", "with_options"
)  # fmt: skip
# A shuffle buffer is filled by so many records at a time.
_SHUFFLED_AT_ONCE = 128

# Does to batches, of a size, what ``prefetch`` or ``with_options`` did to their elements.
OfBatches = Callable[[tf.data.Dataset, int], tf.data.Dataset]


class RecordDataset(tf.data.Dataset):  # type: ignore[misc]
    """A dataset whose ``map`` may be done a batch at a time."""

    _vectorizes_map: bool

    def map(self, map_func: Any, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """Maps ``map_func`` over the elements, as ``tf.data.Dataset.map``.

        Where ``batch`` follows, with nothing but ``prefetch``, ``with_options``, ``repeat`` and
        ``shuffle`` between, records go through ``map_func`` a batch at a time if it is certain that
        the results are the same, errors and their places among the elements included.
        docs/performance.md says when that is.

        Args:
            map_func: See there.
            *args: See there.
            **kwargs: See there.
        """
        plain = super().map(map_func, *args, **kwargs)
        call = _map_arguments(args, kwargs)
        if call is None or not self._has_records():
            return plain
        return MappedDataset(plain, self, (Map(plain, call),))

    def apply(self, transformation_func: Any) -> tf.data.Dataset:
        """Applies a transformation, as ``tf.data.Dataset.apply``.

        ``tf.data.experimental.map_and_batch`` is done as ``map`` and ``batch`` are.

        Args:
            transformation_func: See there.
        """
        plain = super().apply(transformation_func)
        is_one = type(plain).__name__ == "_MapAndBatchDataset" and plain._input_dataset is self
        if not is_one or not self._has_records():
            return plain
        return _map_and_batch(plain, self)

    def _has_records(self) -> bool:
        specs = tf.nest.flatten(self.element_spec)
        return self._vectorizes_map and all(
            isinstance(spec, tf.TensorSpec) and spec.dtype == tf.string and spec.shape.rank == 0
            for spec in specs
        )

    def _in_batches(self, batch_size: int) -> tf.data.Dataset:
        """The records in batches, the last of which may be smaller."""
        return tf.data.Dataset.batch(self, batch_size)


class FollowingDataset(RecordDataset):
    """Records after a transformation that leaves them what they are.

    Args:
        plain: The result of ``tf.data``.
        before: The records before it.
        of_batches: The transformation, if it may as well come behind ``batch``.
    """

    def __init__(
        self, plain: tf.data.Dataset, before: RecordDataset, of_batches: OfBatches | None
    ) -> None:
        self._plain = plain
        self._before = before
        self._of_batches = of_batches
        self._vectorizes_map = before._vectorizes_map
        super().__init__(plain._variant_tensor)

    @property
    def element_spec(self) -> Any:
        """As before the transformation."""
        return self._plain.element_spec

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._plain]

    def _in_batches(self, batch_size: int) -> tf.data.Dataset:
        if self._of_batches is None:
            return super()._in_batches(batch_size)
        return self._of_batches(self._before._in_batches(batch_size), batch_size)


class MappedDataset(tf.data.Dataset):  # type: ignore[misc]
    """Records that went through functions, of which ``batch`` may make something faster.

    Args:
        plain: The result of ``tf.data``.
        records: The records.
        maps: What was mapped right behind them, one after the other.
        steps: What was done since, all of which may as well come behind ``batch``.
        is_direct: Whether nothing else was done since.
    """

    def __init__(
        self,
        plain: tf.data.Dataset,
        records: RecordDataset,
        maps: tuple[Map, ...],
        steps: tuple[OfBatches, ...] = (),
        is_direct: bool = True,
    ) -> None:
        self._plain = plain
        self._records = records
        self._maps = maps
        self._steps = steps
        self._is_direct = is_direct
        super().__init__(plain._variant_tensor)

    @property
    def element_spec(self) -> Any:
        """As that of ``tf.data``."""
        return self._plain.element_spec

    def map(self, map_func: Any, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """See ``tf.data.Dataset.map``; goes with the ``map`` before it."""
        plain = super().map(map_func, *args, **kwargs)
        call = _map_arguments(args, kwargs)
        if call is None or not self._is_direct:
            return plain
        return MappedDataset(plain, self._records, (*self._maps, Map(plain, call)))

    def prefetch(self, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """See ``tf.data.Dataset.prefetch``."""
        return self._followed(super().prefetch(*args, **kwargs), _prefetched)

    def with_options(self, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """See ``tf.data.Dataset.with_options``."""
        return self._followed(super().with_options(*args, **kwargs), _with_options)

    def repeat(self, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """See ``tf.data.Dataset.repeat``: to map what is repeated, or repeat what is mapped."""
        plain = super().repeat(*args, **kwargs)
        records = tf.data.Dataset.repeat(self._records, *args, **kwargs)
        records = FollowingDataset(records, self._records, None)
        return MappedDataset(plain, records, self._maps, self._steps, is_direct=False)

    def shuffle(self, buffer_size: Any, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """See ``tf.data.Dataset.shuffle``, whose buffer is filled by many records at a time."""
        try:
            size = min(_constant(buffer_size), _SHUFFLED_AT_ONCE)
            mapped = self._single(len(self._maps), size)
            for step in self._steps:
                mapped = step(mapped, 1)
        except NoBatchFormError as reason:
            _LOG.info("map runs record by record, not in batches: %s", reason)
            return super().shuffle(buffer_size, *args, **kwargs)
        _LOG.info("map runs in batches of %d records", size)
        return mapped.shuffle(buffer_size, *args, **kwargs)

    def batch(
        self,
        batch_size: Any,
        drop_remainder: Any = False,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> tf.data.Dataset:
        """See ``tf.data.Dataset.batch``."""
        arguments = (batch_size, drop_remainder, num_parallel_calls, deterministic, name)
        plain = super().batch(*arguments)
        reasons = []
        # Of several functions the first ones may have a batch form where the last has none.
        for count in range(len(self._maps), 0, -1):
            try:
                dataset = self._batch_of(count, plain.element_spec, arguments)
            except NoBatchFormError as reason:
                reasons.append(reason)
                continue
            _LOG.info("map runs in batches of %d records", _constant(batch_size))
            return dataset
        _LOG.info("map runs record by record, not in batches: %s", reasons[0])
        return plain

    def _batch_of(self, count: int, spec: Any, arguments: tuple[Any, ...]) -> tf.data.Dataset:
        """Does ``batch`` with the first ``count`` functions a batch at a time."""
        batch_size, drop_remainder, *others = arguments
        size, drop = _constant(batch_size), bool(_constant(drop_remainder))
        if count == len(self._maps) and others == [None] * len(others):
            # tf.data fuses the two where nothing is between them.
            fused = self._is_direct and not self._steps
            elements = "fused_batches" if fused else "batches"
            dataset = _vectorized(self._maps, self._records, size, elements, spec, drop)
            for step in self._steps:
                dataset = step(dataset, size)
        else:
            dataset = self._single(count, size)
            for later in self._maps[count:]:
                dataset = later.again(dataset)
            for step in self._steps:
                dataset = step(dataset, 1)
            dataset = tf.data.Dataset.batch(dataset, *arguments)
        if dataset.element_spec != spec:
            raise NoBatchFormError(f"its results would be {dataset.element_spec}, not {spec}")
        return dataset

    def _single(self, count: int, size: int) -> tf.data.Dataset:
        """The results of the first ``count`` functions, ``size`` of them made at a time."""
        maps = self._maps[:count]
        spec = maps[-1].result.element_spec
        return _vectorized(maps, self._records, size, "single", spec)

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._plain]

    def _followed(self, plain: tf.data.Dataset, step: _StepMaker) -> tf.data.Dataset:
        of_batches = step(plain)
        if of_batches is None:
            return plain
        steps = (*self._steps, of_batches)
        return MappedDataset(plain, self._records, self._maps, steps, is_direct=False)


class Map(NamedTuple):
    """A ``map`` as ``tf.data`` did it.

    Attributes:
        result: The dataset, with the function as it was traced.
        call: The other arguments.
    """

    result: Any
    call: Mapping[str, Any]

    @property
    def function(self) -> Any:
        """The function, of flat tensors.

        Raises:
            NoBatchFormError: If it was not traced.
        """
        function = getattr(self.result._map_func, "function", None)
        if not isinstance(function, tf.types.experimental.ConcreteFunction):
            raise NoBatchFormError("tf.data does not trace the function")
        return function

    def again(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Maps another dataset of the same elements, without tracing the function again.

        Raises:
            NoBatchFormError: If its arguments or results are not all dense tensors.
        """
        if not _is_dense(dataset.element_spec) or not _is_dense(self.result.element_spec):
            raise NoBatchFormError("the results are not all dense tensors")

        def apply(*components: Any) -> Any:
            results = self.function(*tf.nest.flatten(components))
            return tf.nest.pack_sequence_as(self.result.element_spec, tf.nest.flatten(results))

        apply = tf.autograph.experimental.do_not_convert(apply)
        return tf.data.Dataset.map(dataset, apply, **self.call)


class VectorizedDataset(tf.data.Dataset):  # type: ignore[misc]
    """What the op made of batches that went through a function.

    Args:
        variant: The dataset.
        tried: The batches.
        element_spec: What its elements are.
    """

    def __init__(self, variant: tf.Tensor, tried: tf.data.Dataset, element_spec: Any) -> None:
        self._tried = tried
        self._spec = element_spec
        super().__init__(variant)

    @property
    def element_spec(self) -> Any:
        """As that of ``tf.data``."""
        return self._spec

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._tried]


def is_on() -> bool:
    """Whether the environment lets ``map`` be done in batches."""
    return os.environ.get(VARIABLE, "1") != "0"


def _vectorized(
    maps: Sequence[Map],
    records: RecordDataset,
    batch_size: int,
    elements: str,
    element_spec: Any,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Does what ``maps`` and a ``batch`` do, a batch at a time.

    Raises:
        NoBatchFormError: If that is not certain to be the same.
    """
    if batch_size < 1:
        raise NoBatchFormError(f"a batch of {batch_size}")
    if not _is_dense(element_spec):
        raise NoBatchFormError("the results are not all dense tensors")
    specs = tf.nest.flatten(element_spec)
    function = _chained(maps, records)
    of_batch = batch_form(function)
    ops = op_library.load()
    types = [spec.dtype for spec in specs]

    def try_batch(*components: Any) -> Any:
        batch = tf.nest.flatten(components)
        tried = ops.pipe_mode_try_function(
            arguments=[*batch, *of_batch.captured_inputs], f=of_batch, output_types=types
        )
        return (tried.is_ok, *tried.outputs, *batch)

    tried = tf.data.Dataset.map(
        records._in_batches(batch_size),
        tf.autograph.experimental.do_not_convert(try_batch),
        **_call_of_batches(maps[0].call, function, batch_size),
    )
    variant = ops.pipe_mode_vectorized_map_dataset(
        input_dataset=tried._variant_tensor,
        f_captured=function.captured_inputs,
        batch_f_captured=of_batch.captured_inputs,
        num_records=records.cardinality(),
        fusion_probe=tf.data.Dataset.range(1).map(tf.negative).batch(1)._variant_tensor,
        f=function,
        batch_f=of_batch,
        elements=elements,
        batch_size=batch_size,
        drop_remainder=drop_remainder,
        output_types=types,
        output_shapes=[spec.shape for spec in specs],
    )
    return VectorizedDataset(variant, tried, element_spec)


def _call_of_batches(call: Mapping[str, Any], function: Any, batch_size: int) -> dict[str, Any]:
    """The arguments of ``map`` for batches, of which fewer are made at once if they are large.

    As many calls as there are processors keep them all busy; more would only hold more batches.
    """
    calls = call.get("num_parallel_calls")
    if calls is None:
        return {}
    # The batches must come in the order of the records; within one there is no other.
    call = {**call, "deterministic": True}
    if tf.get_static_value(calls) is None:
        return call
    # Of dimensions that are not known, one is as good as another.
    sizes = [
        tensor.dtype.size * math.prod(length or 1 for length in tensor.shape.as_list())
        for tensor in function.outputs
        if tensor.shape.rank is not None
    ]
    most = max(2, _BYTES_AT_ONCE // max(1, batch_size * sum(sizes)))
    processors = len(os.sched_getaffinity(0))
    wanted = int(tf.get_static_value(calls))
    if wanted == tf.data.AUTOTUNE:
        return {**call, "num_parallel_calls": most if most < processors else wanted}
    return {**call, "num_parallel_calls": min(wanted, most, max(2, processors))}


def _chained(maps: Sequence[Map], records: RecordDataset) -> Any:
    """The functions of ``maps``, one after the other, as one."""
    if len(maps) == 1:
        return maps[0].function

    def chain(*tensors: Any) -> Any:
        results = list(tensors)
        for each in maps:
            results = tf.nest.flatten(each.function(*results))
        return results

    signature = tf.nest.flatten(records.element_spec)
    return tf.function(chain, input_signature=signature, autograph=False).get_concrete_function()


def _map_and_batch(plain: Any, records: RecordDataset) -> tf.data.Dataset:
    try:
        size, drop = _constant(plain._batch_size_t), _constant(plain._drop_remainder_t)
        calls = _constant(plain._num_parallel_calls_t)
        mapped = Map(plain, {"num_parallel_calls": calls})
        dataset = _vectorized(
            [mapped], records, size, "whole_batches", plain.element_spec, bool(drop)
        )
    except NoBatchFormError as reason:
        _LOG.info("map_and_batch runs record by record, not in batches: %s", reason)
        return plain
    _LOG.info("map_and_batch runs in batches of %d records", size)
    return dataset


def _constant(value: Any) -> int:
    """The value of an argument that is a number, as far as that is known by now."""
    if tf.is_tensor(value):
        value = tf.get_static_value(value)
    if np.ndim(value) or np.asarray(value).dtype.kind not in "iub":
        raise NoBatchFormError("an argument of batch or shuffle is not a number known by now")
    return int(value)


def _is_dense(element_spec: Any) -> bool:
    return all(isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten(element_spec))


def _map_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of ``map`` beside the function; ``None`` if there are others than known."""
    given = inspect.signature(tf.data.Dataset.map).bind(None, None, *args, **kwargs).arguments
    call = {name: value for name, value in list(given.items())[2:] if value is not None}
    return call if set(call) <= {"num_parallel_calls", "deterministic"} else None


def _prefetched(plain: Any) -> OfBatches | None:
    """Fetches as many batches as make the elements of a ``prefetch``."""
    elements = tf.get_static_value(plain._buffer_size)
    if elements is None:
        return None

    def prefetch(dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        # What stands for a number stays.
        batches = int(elements) if elements < 0 else -(-int(elements) // batch_size)
        return tf.data.Dataset.prefetch(dataset, batches)

    return prefetch


def _with_options(plain: Any) -> OfBatches:
    """Sets the options that a dataset has, as they are now."""
    options = plain.options()
    return lambda dataset, _: tf.data.Dataset.with_options(dataset, options)


_StepMaker = Callable[[Any], OfBatches | None]
_STEPS: dict[str, _StepMaker] = {"prefetch": _prefetched, "with_options": _with_options}


def _of_records(name: str) -> Any:
    method = getattr(tf.data.Dataset, name)

    @functools.wraps(method)
    def follow(self: RecordDataset, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        plain = method(self, *args, **kwargs)
        if not self._has_records():
            return plain
        return FollowingDataset(plain, self, _STEPS[name](plain) if name in _STEPS else None)

    return follow


for _name in _OF_RECORDS:
    setattr(RecordDataset, _name, _of_records(_name))
