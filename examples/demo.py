# SPDX-License-Identifier: Apache-2.0
"""Trains a model on images that arrive through FIFOs, as in a SageMaker training job.

``make demo`` runs it. ``pipemode run`` plays the service for ``train_digits.py``, which knows
nothing of that.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sagemaker_tensorflow.records import RecordWriter

# Without these TensorFlow writes notes to stderr in each of three processes.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
SCRIPT = Path(__file__).with_name("train_digits.py")
EPOCHS = 8
SHARDS = {"training": 8, "validation": 2}
VALIDATION_SHARE = 0.2
WANTED_ACCURACY = 0.9

# Runs where there is no sagemaker_tensorflow.
PREDICT = """
import sys
sys.modules["sagemaker_tensorflow"] = None  # makes every import of it fail
try:
    import sagemaker_tensorflow
except ImportError:
    pass
else:
    sys.exit("sagemaker_tensorflow can be imported")

import json
import numpy as np
import tensorflow as tf

model_dir, images_path = sys.argv[1:]
model = tf.saved_model.load(model_dir)
[scores] = model.signatures["serving_default"](image=tf.constant(np.load(images_path))).values()
json.dump(np.argmax(scores, axis=1).tolist(), sys.stdout)
"""


class DemoError(Exception):
    """What the demo ends with, in a line."""


@dataclasses.dataclass(frozen=True)
class Digits:
    """A channel's part of the images, [n, 8, 8] with values 0 to 16, and what they show, [n]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # cleans up
    os.environ.update(QUIET)
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="pipe-mode-demo-") as folder:
            run(Path(folder))
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"\nDone in {time.monotonic() - begun:.0f} s.")
    return 0


def run(folder: Path) -> None:
    print("1. scikit-learn's digits become gzipped TFRecords")
    digits = load_digits()
    for channel, part in digits.items():
        files = write_shards(part, folder / channel, SHARDS[channel])
        size = sum(path.stat().st_size for path in files)
        print(
            f"   {channel:<10}  {len(part.images):>4} images of 8 x 8 pixels in {len(files)} "
            f"files, {size / 1e6:.3f} MB"
        )

    print(f"\n2. {SCRIPT.name} trains on them, as a training job; each epoch is a FIFO of its own")
    model = train(folder)

    print("\n3. The saved model, in a process that has no sagemaker_tensorflow")
    accuracy = check_model(model / "1", digits["validation"], folder)
    print(f"   validation accuracy: {accuracy:.1%}")
    if accuracy <= WANTED_ACCURACY:
        raise DemoError(f"the validation accuracy is not over {WANTED_ACCURACY:.0%}")


def load_digits() -> dict[str, Digits]:
    from sklearn import datasets, model_selection

    images, labels = datasets.load_digits(return_X_y=True)
    train_images, val_images, train_labels, val_labels = model_selection.train_test_split(
        images.astype(np.uint8).reshape(-1, 8, 8),
        labels.astype(np.int64),
        test_size=VALIDATION_SHARE,
        stratify=labels,
        random_state=0,
    )
    return {
        "training": Digits(train_images, train_labels),
        "validation": Digits(val_images, val_labels),
    }


def write_shards(digits: Digits, folder: Path, count: int) -> list[Path]:
    """Writes the files of a channel, each with every ``count``-th image."""
    folder.mkdir()
    paths = []
    for number in range(count):
        path = folder / f"{number:02}.tfrecord.gz"
        with RecordWriter(path, "TFRecord", compression_type="GZIP") as writer:
            images = digits.images[number::count]
            for example in make_examples(images, digits.labels[number::count]):
                writer.write(example)
        paths.append(path)
    return paths


def make_examples(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Iterator[bytes]:
    import tensorflow as tf

    for image, label in zip(images, labels, strict=True):
        feature = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        yield example.SerializeToString()


def train(folder: Path) -> Path:
    """Runs the script as a training job does; returns the folder of its model."""
    command = [
        *("run", SCRIPT),
        # In another order for each epoch, as with the service's ShuffleConfig.
        *("--channel", f"training={folder / 'training'},shuffle-seed=1"),
        *("--channel", f"validation={folder / 'validation'}"),
        *("--hyperparameter", f"epochs={EPOCHS}"),
        *("--output-path", folder / "output"),
        *("--job-name", "demo"),
    ]
    arguments = [str(argument) for argument in command]
    print(f"   $ pipemode {shlex.join(arguments)}\n", flush=True)
    # TensorFlow leaves temporary files behind when it is interrupted.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-m", "sagemaker_tensorflow", *arguments], env=environment
    ) as process:
        try:
            process.wait()
        except BaseException:
            # After Ctrl-C it knows already, and ends the script. Once more would kill the script.
            if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
                process.terminate()
            process.wait()
            raise
    if process.returncode != 0:
        raise DemoError(f"pipemode run ended with exit code {process.returncode}")
    with tarfile.open(folder / "output" / "demo" / "output" / "model.tar.gz") as archive:
        # Python 3.11.2, which Debian 12 has, knows no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder / "model")
    return folder / "model"


def check_model(model_dir: Path, digits: Digits, folder: Path) -> float:
    """Returns the model's accuracy on ``digits``; prints a few of its answers."""
    images_path = folder / "images.npy"
    np.save(images_path, digits.images)
    result = subprocess.run(
        [sys.executable, "-c", PREDICT, str(model_dir), str(images_path)],
        stdout=subprocess.PIPE,
        check=False,
    )
    if result.returncode != 0:
        raise DemoError("the saved model could not be used")
    predicted = np.array(json.loads(result.stdout))
    print(f"   images    {show_some(digits.labels)} ...")
    print(f"   predicted {show_some(predicted)} ...")
    return float(np.mean(predicted == digits.labels))


def show_some(values: Iterable[int]) -> str:
    return " ".join(str(value) for value in list(values)[:20])


if __name__ == "__main__":
    sys.exit(main())
