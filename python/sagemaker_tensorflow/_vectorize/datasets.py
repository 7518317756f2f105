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


class Step(NamedTuple):
    """A transformation of records, or of what a function made of them.

    Attributes:
        name: The method of ``tf.data.Dataset``.
        again: Does it to another dataset of the same elements.
        of_batches: Does it to a dataset of batches of that size, if it may as well come behind
            ``batch``.
        most: How many elements it may need, as far as that is known, before it gives one.
    """

    name: str
    again: Callable[[tf.data.Dataset], tf.data.Dataset]
    of_batches: Callable[[tf.data.Dataset, int], tf.data.Dataset] | None = None
    most: int | None = None


class RecordDataset(tf.data.Dataset):  # type: ignore[misc]
    """A dataset whose ``map`` may be done a batch at a time."""

    _vectorizes_map: bool

    def map(self, map_func: Any, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """Maps ``map_func`` over the elements, as ``tf.data.Dataset.map``.

        Where ``batch`` follows, with nothing but ``prefetch``, ``shuffle``, ``repeat``, ``take``
        and the like between, records go through ``map_func`` a batch at a time if it is certain
        that the results are the same, errors and their places among the elements included.
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
        step: The transformation.
    """

    def __init__(self, plain: tf.data.Dataset, before: RecordDataset, step: Step) -> None:
        self._plain = plain
        self._before = before
        self._step = step
        self._vectorizes_map = before._vectorizes_map
        super().__init__(plain._variant_tensor)

    @property
    def element_spec(self) -> Any:
        """As before the transformation."""
        return self._plain.element_spec

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._plain]

    def _in_batches(self, batch_size: int) -> tf.data.Dataset:
        if self._step.of_batches is None:
            return super()._in_batches(batch_size)
        return self._step.of_batches(self._before._in_batches(batch_size), batch_size)


class MappedDataset(tf.data.Dataset):  # type: ignore[misc]
    """Records that went through functions, of which ``batch`` may make something faster.

    Args:
        plain: The result of ``tf.data``.
        records: The records.
        maps: What was mapped right behind them, one after the other.
        steps: What was done since.
    """

    def __init__(
        self,
        plain: tf.data.Dataset,
        records: RecordDataset,
        maps: tuple[Map, ...],
        steps: tuple[Step, ...] = (),
    ) -> None:
        self._plain = plain
        self._records = records
        self._maps = maps
        self._steps = steps
        super().__init__(plain._variant_tensor)

    @property
    def element_spec(self) -> Any:
        """As that of ``tf.data``."""
        return self._plain.element_spec

    def map(self, map_func: Any, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """See ``tf.data.Dataset.map``; goes with the ``map`` before it."""
        plain = super().map(map_func, *args, **kwargs)
        call = _map_arguments(args, kwargs)
        if call is None:
            return plain
        if not self._steps:
            return MappedDataset(plain, self._records, (*self._maps, Map(plain, call)))
        return self._followed(plain, Map(plain, call).step())

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
                return self._batch_of(count, plain.element_spec, arguments)
            except NoBatchFormError as reason:
                reasons.append(reason)
        _LOG.info("map runs record by record, not in batches: %s", reasons[0])
        return plain

    def _batch_of(self, count: int, spec: Any, arguments: tuple[Any, ...]) -> tf.data.Dataset:
        """Does ``batch`` with the first ``count`` functions a batch at a time."""
        batch_size, drop_remainder, *others = arguments
        size, drop = _constant(batch_size), bool(_constant(drop_remainder))
        maps = self._maps[:count]
        steps = (*(each.step() for each in self._maps[count:]), *self._steps)
        behind_batch = [step.of_batches for step in steps if step.of_batches is not None]
        if others == [None] * len(others) and len(behind_batch) == len(steps):
            # tf.data fuses the two where nothing is between them.
            elements = "batches" if steps else "fused_batches"
            dataset = _vectorized(maps, self._records, size, elements, spec, drop)
            for of_batches in behind_batch:
                dataset = of_batches(dataset, size)
        else:
            dataset = _vectorized(maps, self._records, size, "single", maps[-1].result.element_spec)
            for step in steps:
                dataset = step.again(dataset)
            dataset = tf.data.Dataset.batch(dataset, *arguments)
        _LOG.info("map runs in batches of %d records", size)
        return dataset

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._plain]

    def _followed(self, plain: tf.data.Dataset, step: Step) -> MappedDataset:
        return MappedDataset(plain, self._records, self._maps, (*self._steps, step))


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

    def step(self) -> Step:
        """The same for another dataset, without tracing the function again."""

        def apply(*components: Any) -> Any:
            results = self.function(*tf.nest.flatten(components))
            return tf.nest.pack_sequence_as(self.result.element_spec, tf.nest.flatten(results))

        apply = tf.autograph.experimental.do_not_convert(apply)
        return Step("map", lambda dataset: tf.data.Dataset.map(dataset, apply, **self.call))


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
    specs = tf.nest.flatten(element_spec)
    if not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        raise NoBatchFormError("the results are not all dense tensors")
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
    if calls is None or tf.get_static_value(calls) is None:
        return dict(call)
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
    """The value of an argument, as a number."""
    if tf.is_tensor(value):
        value = tf.get_static_value(value)
    if value is None:
        raise NoBatchFormError("the arguments of batch are not known before it runs")
    return int(value)


def _batches(records: int, batch_size: int) -> int:
    """How many batches ``records`` are; what stands for a number stays."""
    return records if records < 0 else max(1, -(-records // batch_size))


def _map_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of ``map`` beside the function; ``None`` if there are others than known."""
    given = inspect.signature(tf.data.Dataset.map).bind(None, None, *args, **kwargs).arguments
    call = {name: value for name, value in list(given.items())[2:] if value is not None}
    return call if set(call) <= {"num_parallel_calls", "deterministic"} else None


def _step(name: str, plain: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Step:
    """What a method of ``tf.data.Dataset`` did that gave ``plain``."""
    method = getattr(tf.data.Dataset, name)
    if name == "shuffle":
        kwargs = _with_seed(plain, args, kwargs)
        args = args[:1]

    def again(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return method(dataset, *args, **kwargs)

    if name == "prefetch":
        buffer_size = tf.get_static_value(plain._buffer_size)

        def prefetch(dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
            return tf.data.Dataset.prefetch(dataset, _batches(int(buffer_size), batch_size))

        return Step(name, again, prefetch if buffer_size is not None else None)
    if name == "with_options":
        return Step(name, again, lambda dataset, _: again(dataset))
    attribute = {"shuffle": "_buffer_size", "take": "_count"}.get(name)
    most = tf.get_static_value(getattr(plain, attribute)) if attribute else None
    return Step(name, again, most=int(most) if most is not None and most > 0 else None)


def _with_seed(plain: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``shuffle`` behind the first, with the seed that it drew if given none.

    Another one would be drawn for another dataset, where ``tf.random.set_seed`` has made the order
    of all certain.
    """
    given = inspect.signature(tf.data.Dataset.shuffle).bind(plain, *args, **kwargs).arguments
    call = dict(list(given.items())[2:])
    seeds = [tf.get_static_value(seed) for seed in (plain._seed, plain._seed2)]
    if call.get("seed") is None and None not in seeds and any(seeds):
        call["seed"] = int(seeds[1])
    return call


def _of_records(name: str) -> Any:
    method = getattr(tf.data.Dataset, name)

    @functools.wraps(method)
    def follow(self: RecordDataset, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        plain = method(self, *args, **kwargs)
        if not self._has_records():
            return plain
        return FollowingDataset(plain, self, _step(name, plain, args, kwargs))

    return follow


def _of_elements(name: str) -> Any:
    method = getattr(tf.data.Dataset, name)

    @functools.wraps(method)
    def follow(self: MappedDataset, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        plain = method(self, *args, **kwargs)
        return self._followed(plain, _step(name, plain, args, kwargs))

    return follow


for _name in _OF_RECORDS:
    setattr(RecordDataset, _name, _of_records(_name))
    setattr(MappedDataset, _name, _of_elements(_name))
