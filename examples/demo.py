# SPDX-License-Identifier: Apache-2.0
"""Trains a model on images that arrive through FIFOs, as in a SageMaker training job.

``make demo`` runs it. It plays the service with ``sagemaker_tensorflow.testing`` and runs
``train_digits.py``, which knows nothing of that, in a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sagemaker_tensorflow import testing
from sagemaker_tensorflow.records import RecordWriter

# Without these TensorFlow writes notes to stderr in each of three processes.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
SCRIPT = Path(__file__).with_name("train_digits.py")
EPOCHS = 8
SHARDS = {"training": 8, "validation": 2}
VALIDATION_SHARE = 0.2
WANTED_ACCURACY = 0.9
LOOK_SECONDS = 0.05
GRACE_SECONDS = 10

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
class Shard:
    """A file as it would lie in S3."""

    path: Path
    records: int


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
    shards = {
        channel: write_shards(part, folder / channel, SHARDS[channel])
        for channel, part in digits.items()
    }
    for channel, files in shards.items():
        size = sum(shard.path.stat().st_size for shard in files)
        print(
            f"   {channel:<10}  {count_records(files):>4} images of 8 x 8 pixels in {len(files)} "
            f"files, {size / 1e6:.3f} MB"
        )

    print(f"\n2. {SCRIPT.name} trains on them (|); each epoch comes through its own FIFO (>)")
    channels = {channel: epochs_of(files) for channel, files in shards.items()}
    model_dir = folder / "model"
    with testing.serve(channels, "TFRecord") as host:
        run_script(host, model_dir, folder)

    print(f"\n3. What went through the FIFOs, all in {host.pipe_dir}")
    reports = [report for channel in channels for report in host.reports[channel]]
    print_table(reports, {channel: count_records(files) for channel, files in shards.items()})
    for channel in channels:
        if len(host.reports[channel]) != EPOCHS:
            raise DemoError(
                f"channel '{channel}' sent {len(host.reports[channel])} epochs, not {EPOCHS}"
            )

    print("\n4. The saved model, in a process that has no sagemaker_tensorflow")
    accuracy = check_model(model_dir / "1", digits["validation"], folder)
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


def write_shards(digits: Digits, folder: Path, count: int) -> list[Shard]:
    """Writes the files of a channel, each with every ``count``-th image."""
    folder.mkdir()
    shards = []
    for number in range(count):
        path = folder / f"{number:02}.tfrecord.gz"
        with RecordWriter(path, "TFRecord", compression_type="GZIP") as writer:
            images = digits.images[number::count]
            for example in make_examples(images, digits.labels[number::count]):
                writer.write(example)
        shards.append(Shard(path, len(images)))
    return shards


def make_examples(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Iterator[bytes]:
    import tensorflow as tf

    for image, label in zip(images, labels, strict=True):
        feature = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=feature))
        yield example.SerializeToString()


def count_records(shards: list[Shard]) -> int:
    return sum(shard.records for shard in shards)


def epochs_of(shards: list[Shard]) -> Callable[[int], bytes]:
    """Returns a function that gives the stream of an epoch.

    It is what the service sends: the files as they are, one after the other, in another order each
    time (``ShuffleConfig``), for as many epochs as the script reads.
    """

    def stream(epoch: int) -> bytes:
        order = random.Random(epoch).sample(shards, len(shards))
        return b"".join(shard.path.read_bytes() for shard in order)

    return stream


def run_script(host: testing.PipeModeHost, model_dir: Path, temporary_dir: Path) -> None:
    """Runs the script as a training job does; shows what it prints and each FIFO that is done."""
    environment = {
        **os.environ,
        **host.environment,
        "SM_MODEL_DIR": str(model_dir),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(temporary_dir),  # TensorFlow leaves files behind when it is interrupted
    }
    command = [sys.executable, str(SCRIPT), "--epochs", str(EPOCHS)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            show_progress(process, host)
            process.wait()
        finally:
            stop(process)
    if process.returncode != 0:
        raise DemoError(f"{SCRIPT.name} ended with exit code {process.returncode}")


def show_progress(process: subprocess.Popen[bytes], host: testing.PipeModeHost) -> None:
    """Passes on the output of ``process`` until it ends."""
    shown = dict.fromkeys(host.reports, 0)
    for output in read_output(process):
        for line in output.decode(errors="replace").splitlines():
            print(f"   | {line}", flush=True)
        for channel, reports in host.reports.items():
            for report in reports[shown[channel] :]:
                shown[channel] += 1
                print(f"   > {Path(report.path).name}: {report.bytes} bytes", flush=True)


def read_output(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yields whole lines as they come, or ``b""`` when there are none for a while."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(LOOK_SECONDS):
                yield b""
                continue
            piece = os.read(process.stdout.fileno(), 1 << 16)
            lines, newline, rest = (rest + piece).rpartition(b"\n")
            yield lines + newline
            if not piece:
                yield rest
                return


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends ``process`` if it still runs, as the service ends a job."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def print_table(reports: list[testing.EpochReport], records: dict[str, int]) -> None:
    print("   channel     epoch  FIFO          records     MB   MB/s")
    for report in reports:
        megabytes = report.bytes / 1e6
        print(
            f"   {report.channel:<10}  {report.epoch:>5}  {Path(report.path).name:<12}  "
            f"{records[report.channel]:>7}  {megabytes:>5.3f}  {megabytes / report.seconds:>5.0f}"
        )
    print("   (MB/s: how fast the pipe took the bytes; an epoch of this size fits into it whole.)")


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
