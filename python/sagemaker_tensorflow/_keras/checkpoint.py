# SPDX-License-Identifier: Apache-2.0
"""``PipeModeCheckpoint``: a Keras training that goes on in mid-epoch after it was killed."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._keras.dataset_tree import pipe_mode_datasets

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()

__all__ = ["PipeModeCheckpoint"]

_VARIABLE_KEY = "{}/.ATTRIBUTES/VARIABLE_VALUE"


class PipeModeCheckpoint(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Saves model, optimizer and the position in the channel together, and goes on from there.

    ``tf.keras.callbacks.BackupAndRestore`` saves the model and the epoch, and begins an
    interrupted epoch anew. This callback saves how far the dataset is in the same checkpoint, so
    that the model sees every record as often as if nothing had happened::

        ds = PipeModeDataset('training', 'TFRecord').repeat(3).batch(64).map(parse)
        checkpoint = PipeModeCheckpoint('/opt/ml/checkpoints', ds, save_freq=500)
        model.fit(
            checkpoint.dataset,
            epochs=3,
            steps_per_epoch=steps,
            initial_epoch=checkpoint.initial_epoch,
            callbacks=[checkpoint],
        )

    The epoch in which a training was interrupted gets ``steps_per_epoch`` more steps, the last one
    as many fewer: ``fit`` ends after ``epochs * steps_per_epoch`` steps in all.

    Not for ``fit`` under a ``tf.distribute`` strategy, whose iterators cannot be saved.

    Args:
        folder: Folder of the checkpoints, for one training; ``/opt/ml/checkpoints`` is what
            SageMaker copies to S3 and back.
        dataset: What to train on. Pass ``checkpoint.dataset`` in its place to ``fit``.
        save_freq: Save after so many batches, or after each ``'epoch'``.
        max_to_keep: How many checkpoints to keep; ``None`` keeps all.

    Attributes:
        dataset: The same elements as the argument's, for ``fit`` to train on and nothing else. Its
            iterator there begins at the saved position.
        initial_epoch: The epoch to go on with, 0 without a checkpoint.

    Raises:
        TypeError: If the type of another argument than ``save_freq`` is not valid.
        ValueError: If ``save_freq`` is neither a positive number nor ``'epoch'``, ``max_to_keep``
            is less than 1, or ``folder`` holds a checkpoint of something else. ``fit`` raises it if
            the model is not built, if ``steps_per_epoch`` or ``initial_epoch`` is missing or not
            that of the checkpoint, or if ``dataset`` is read for something else meanwhile, as
            validation; AssertionError if the checkpoint is that of another model; and what
            restoring an iterator raises.

    Warns:
        UserWarning: If the job reshuffles a channel for each epoch: the records behind the saved
            position are not those that were not seen.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        dataset: tf.data.Dataset,
        save_freq: int | str = "epoch",
        max_to_keep: int | None = 2,
    ) -> None:
        super().__init__()
        arguments.check(folder=folder, max_to_keep=max_to_keep)
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(f"dataset must be a tf.data.Dataset, not {type(dataset).__name__}")
        is_positive = isinstance(save_freq, int) and save_freq > 0
        if save_freq != "epoch" and (isinstance(save_freq, bool) or not is_positive):
            raise ValueError(f"save_freq must be a number of batches or 'epoch', not {save_freq!r}")
        if max_to_keep is not None and max_to_keep < 1:
            raise ValueError(f"max_to_keep must be at least 1, or None, not {max_to_keep}")
        self.folder = os.fsdecode(folder)
        if tf.train.latest_checkpoint(self.folder) is None:  # else restoring warns
            _warn_if_reshuffled(dataset)
        self.dataset = _KeptIterators(dataset, self)
        self._save_freq = save_freq
        self._max_to_keep = max_to_keep
        _saved_progress(self.folder)  # a folder with something else fails here, not in fit
        self._manager: tf.train.CheckpointManager | None = None  # while fit runs
        self._iterator_saved = False
        self._restored: Any = None
        self._batches = self._batches_before_epoch = self._batches_saved = 0

    @property
    def initial_epoch(self) -> int:
        """The epoch to go on with, 0 without a checkpoint."""
        batches, steps = _saved_progress(self.folder)
        return batches // steps

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Restores model and optimizer; the dataset's iterator is yet to be made."""
        if not self.params.get("steps"):
            raise ValueError(
                "PipeModeCheckpoint needs fit(steps_per_epoch=...), and a dataset with repeat(): "
                "without them Keras takes the rest of an interrupted epoch for a whole one"
            )
        if not self.model.built:
            raise ValueError(
                "PipeModeCheckpoint needs a model that is built before fit(): give it a "
                "tf.keras.Input, or call it once"
            )
        optimizer = self.model.optimizer
        if hasattr(optimizer, "build"):  # all but Keras 2's legacy ones
            optimizer.build(self.model.trainable_variables)
        self._checkpoint = tf.train.Checkpoint(
            model=self.model,
            optimizer=optimizer,
            batches=tf.Variable(0, dtype=tf.int64),
            steps=tf.Variable(self.params["steps"], dtype=tf.int64),
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, self.folder, self._max_to_keep)
        self._iterator_saved = False
        self._restored = None
        if self._manager.latest_checkpoint:
            self._restored = self._checkpoint.restore(self._manager.latest_checkpoint)
            self._restored.assert_existing_objects_matched()
        self._batches = self._batches_saved = int(self._checkpoint.batches.numpy())
        steps = int(self._checkpoint.steps.numpy())
        if steps != self.params["steps"]:
            raise ValueError(
                f"the checkpoint was saved with steps_per_epoch={steps}, and its epochs count so "
                f"many steps: pass that, not {self.params['steps']}, or another folder"
            )
        self._first_epoch: int | None = self._batches // steps

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Looks whether ``fit`` goes on with the right epoch."""
        if self._first_epoch not in (None, epoch):
            raise ValueError(
                f"the checkpoint is in epoch {self._first_epoch}, but fit() begins with {epoch}: "
                "pass initial_epoch=checkpoint.initial_epoch"
            )
        seen = self._batches - self._batches_before_epoch  # in the epoch before
        if self._first_epoch is None and seen < self.params["steps"]:
            self._iterator_saved = False  # the data ran out: fit makes another iterator
        self._first_epoch = None
        self._batches_before_epoch = self._batches

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Saves when it is time to, and ends ``fit`` after as many steps as it was to have."""
        if not self._iterator_saved:
            raise ValueError(
                "fit() does not read from checkpoint.dataset: pass that; no class_weight, with "
                "which Keras makes another dataset of it, so map to (x, y, weights) instead; and "
                "no tf.distribute strategy, whose iterators cannot be saved"
            )
        self._batches = self._batches_before_epoch + batch + 1
        if (
            isinstance(self._save_freq, int)
            and self._batches - self._batches_saved >= self._save_freq
        ):
            self._save()
        if self._batches >= self.params["epochs"] * self.params["steps"]:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Saves, if that is to be done after each epoch."""
        if self._save_freq == "epoch":
            self._save()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Saves the end, after which there is nothing to go on with."""
        if self._batches > self._batches_saved:
            self._save()
        if self._restored is not None:  # there was nothing left to do
            self._restored.expect_partial()
        self._manager = None

    def _save(self) -> None:
        assert self._manager is not None  # noqa: S101 - only fit calls
        self._checkpoint.batches.assign(self._batches)
        self._manager.save()
        self._batches_saved = self._batches

    def _keep(self, iterator: Any) -> None:
        """Makes ``iterator`` part of the checkpoint, and moves it to where it was.

        ``fit`` makes one iterator, before its first batch.
        """
        if self._manager is None:
            return
        if self._iterator_saved:
            raise ValueError(
                "checkpoint.dataset is read a second time during fit(): it is for training alone, "
                "so pass another dataset as validation_data and to evaluate(); and it needs "
                "repeat(), or Keras reads it anew for each epoch"
            )
        self._checkpoint.iterator = iterator
        self._iterator_saved = True
        if self._restored is not None:
            self._restored.assert_existing_objects_matched()
            self._restored = None


class _KeptIterators(tf.data.Dataset):  # type: ignore[misc]
    """A dataset whose iterators ``fit`` makes, but a callback gets, too."""

    def __init__(self, dataset: tf.data.Dataset, callback: PipeModeCheckpoint) -> None:
        self._dataset = dataset
        self._callback = callback
        super().__init__(dataset._variant_tensor)

    def __iter__(self) -> Any:
        iterator = iter(self._dataset)
        self._callback._keep(iterator)
        return iterator

    @property
    def element_spec(self) -> Any:
        return self._dataset.element_spec

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._dataset]


def _saved_progress(folder: str) -> tuple[int, int]:
    """Returns how many batches were trained on, and how many make an epoch."""
    latest = tf.train.latest_checkpoint(folder)
    if latest is None:
        return 0, 1
    try:
        batches, steps = (
            int(tf.train.load_variable(latest, _VARIABLE_KEY.format(name)))
            for name in ("batches", "steps")
        )
    except tf.errors.NotFoundError:
        raise ValueError(
            f"'{latest}' is no checkpoint of PipeModeCheckpoint: give it a folder of its own"
        ) from None
    return batches, steps


def _warn_if_reshuffled(dataset: tf.data.Dataset) -> None:
    for source in pipe_mode_datasets(dataset):
        if source.is_reshuffled:
            warnings.warn(
                f"channel '{source.channel}' has a ShuffleConfig: each epoch sends its objects in "
                "another order, so after a restart some records are trained on twice and others "
                "not at all; for exact resume start the job without it, and shuffle the dataset",
                stacklevel=3,
            )
