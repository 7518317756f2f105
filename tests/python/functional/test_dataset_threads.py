# SPDX-License-Identifier: Apache-2.0
"""Datasets and iterators that threads share, hand on and leave behind."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from dataset_helpers import make, records, without_autotune
from pipe_helpers import Background, feed, feed_nothing_for_ever, stream, wait_until

pytestmark = pytest.mark.long

A_MOMENT = 1.0  # what a person calls prompt
SOON = 10.0  # the same on a busy machine; all time limits are longer
EPOCHS = 24
RECORDS = 50

PRELUDE = """
import gc, sys, threading
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

ds = PipeModeDataset("training", "TFRecord", open_timeout=60, read_timeout=60)
"""


def epoch(number):
    return [b"%d %d" % (number, record) for record in range(RECORDS)]


@pytest.mark.parametrize("threads", [2, 6])
def test_threads_share_a_dataset(serve, threads):
    """Each epoch is read by one iterator, whole and in order, whichever thread it is of."""
    with serve({"training": [epoch(number) for number in range(EPOCHS)]}):
        ds = make()

        def read():
            return [records(ds) for _ in range(EPOCHS // threads)]

        readers = [Background(read) for _ in range(threads)]
        seen = [elements for reader in readers for elements in reader.result(60)]
    assert sorted(seen) == sorted(epoch(number) for number in range(EPOCHS))


@pytest.mark.parametrize("batch_size", [None, 7])
def test_threads_share_an_iterator(serve, batch_size):
    """Each record goes to one of them, and the end to all."""
    with serve({"training": [epoch(number) for number in range(EPOCHS)]}):
        ds = make().repeat(EPOCHS)
        iterator = iter(ds if batch_size is None else ds.batch(batch_size))

        def read():
            return [record for element in iterator for record in np.atleast_1d(element.numpy())]

        readers = [Background(read) for _ in range(4)]
        seen = [record for reader in readers for record in reader.result(60)]
    everything = [record for number in range(EPOCHS) for record in epoch(number)]
    assert sorted(seen) == sorted(everything)


def test_threads_make_and_drop_iterators(serve):
    """Of an epoch that is left early nobody sees the rest, and the next iterator gets the next."""
    with serve({"training": [epoch(number) for number in range(EPOCHS)]}):
        ds = make()

        def read():
            seen = []
            for _ in range(EPOCHS // 4):
                iterator = iter(ds)
                seen.append([next(iterator).numpy() for _ in range(3)])
                del iterator
            return seen

        readers = [Background(read) for _ in range(4)]
        seen = [elements for reader in readers for elements in reader.result(60)]
    assert sorted(seen) == sorted(epoch(number)[:3] for number in range(EPOCHS))


def test_an_iterator_that_waits_is_dropped_by_another_thread(job):
    """What its thread waits for is cancelled; the one who drops it does not wait."""
    feed(job.make_fifo(), stream([b"a"], "TFRecord"))
    held = [iter(without_autotune(make().repeat().prefetch(2)))]
    assert next(held[0]).numpy() == b"a"

    def drop():
        begun = time.monotonic()
        held.clear()
        return time.monotonic() - begun

    assert Background(drop).result() < SOON
    feed(job.make_fifo(1), stream([b"b"], "TFRecord"))
    assert records(make()) == [b"b"]  # nobody else waits for it


@pytest.mark.parametrize("options", [{}, {"read_ahead_bytes": 0}])
def test_an_iterator_that_finds_data_for_ever_is_dropped(job, options):
    """It never waits, and so has no other occasion to ask whether it is cancelled."""
    writer = feed_nothing_for_ever(job.make_fifo(), stream([b"a"], "TFRecord", "GZIP"))
    held = [iter(without_autotune(make(compression_type="GZIP", **options).prefetch(2)))]
    assert next(held[0]).numpy() == b"a"
    begun = time.monotonic()
    held.clear()
    assert time.monotonic() - begun < SOON
    writer.result()


def test_a_thread_ends_before_its_iterator(serve):
    """Nothing of an iterator belongs to the thread that made it or began to read."""
    with serve({"training": [epoch(0), epoch(1)]}):

        def begin():
            iterator = iter(make().repeat(2))
            return iterator, [next(iterator).numpy() for _ in range(3)]

        iterator, seen = Background(begin).result()
        assert seen + [record.numpy() for record in iterator] == epoch(0) + epoch(1)


def test_autotune_everywhere(serve):
    """``tf.data`` chooses parallelism and buffers as it likes."""
    auto = tf.data.AUTOTUNE
    with serve({"training": [epoch(number) for number in range(EPOCHS)]}):
        ds = (
            tf.data.Dataset.range(EPOCHS)
            .interleave(lambda _: make(), cycle_length=auto, num_parallel_calls=auto)
            .map(tf.strings.lower, num_parallel_calls=auto)
            .batch(10, num_parallel_calls=auto)
            .prefetch(auto)
        )
        seen = [record for batch in records(ds) for record in batch]
    everything = [record for number in range(EPOCHS) for record in epoch(number)]
    assert sorted(seen) == sorted(everything)


@pytest.mark.parametrize("missing", ["FIFO", "data"])
@pytest.mark.parametrize(
    "wait",
    [
        "threading.Thread(target=next, args=[iter(ds)], daemon=True).start()",
        "threading.Thread(target=lambda: list(ds.repeat().batch(2)), daemon=True).start()",
        "[threading.Thread(target=next, args=[iter(ds)], daemon=True).start() for _ in 'abcd']",
        "held = iter(ds.prefetch(1).shuffle(4)); threading.Thread("
        "target=next, args=[held], daemon=True).start()",
    ],
    ids=["next", "loop", "four", "pipeline"],
)
def test_the_interpreter_ends_while_a_thread_is_in_next(job, fork_server, wait, missing):
    writing = None
    if missing == "data":
        writing = Background(os.open, job.make_fifo(), os.O_WRONLY)
    code = f"{PRELUDE}\n{wait}\nsys.stdin.read()\nprint('ready', flush=True)\n"
    code += "import time; time.sleep(0.2)\nsys.exit(3)\n"
    with fork_server.run(code) as child:
        child.wait_for_output("ready")
        begun = time.monotonic()
        assert child.wait(timeout=30) == 3, child.stderr
        assert time.monotonic() - begun < 15
        assert "terminate called" not in child.stderr
        assert "Fatal Python error" not in child.stderr
    if writing is not None and writing.is_alive():
        # Nobody came for it: let the thread go.
        os.close(os.open(job.pipe(), os.O_RDONLY | os.O_NONBLOCK))
    if writing is not None:
        os.close(writing.result())


def test_a_thread_that_is_no_daemon_reads_to_its_end(job, fork_server):
    """Python waits for it when the script is over."""
    code = "threading.Thread(target=lambda: print(list(ds.as_numpy_iterator()))).start()"
    with fork_server.run(f"{PRELUDE}\n{code}\nprint('over', flush=True)\nsys.exit()") as child:
        child.wait_for_output("over")
        feed(job.make_fifo(), stream([b"a"], "TFRecord"))
        assert child.wait() == 0, child.stderr
        assert "[b'a']" in child.stdout


def test_ctrl_c_ends_the_wait_for_a_thread_that_is_no_daemon(job, fork_server):
    code = "threading.Thread(target=list, args=[ds]).start()"
    with fork_server.run(f"{PRELUDE}\n{code}\nprint('over', flush=True)\nsys.exit()") as child:
        child.wait_for_output("over")
        child.wait_until_blocked()
        child.send(signal.SIGINT)
        child.wait(timeout=30)


def test_signals_reach_the_script_while_its_threads_read(job, fork_server):
    """Four threads read one iterator each; the main thread does something else."""
    with fork_server.run(
        PRELUDE
        + """
import signal, time
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())

def read():
    try:
        next(iter(ds))
    except tf.errors.OpError as error:
        print(type(error).__name__, flush=True)

for _ in range(4):
    threading.Thread(target=read, daemon=True).start()
print("ready", flush=True)
while not stopped.wait(0.01):
    pass
print("stopped", flush=True)
"""
    ) as child:
        child.wait_for_output("ready")
        child.wait_until_blocked()
        child.send(signal.SIGTERM)
        child.wait_for_output("stopped")
        assert child.wait() == 0, child.stderr


def test_threads_count_into_one(serve):
    """``stats`` may be asked by any thread at any time."""
    with serve({"training": [epoch(number) for number in range(EPOCHS)]}):
        ds = make()
        before = ds.stats().records
        over = threading.Event()

        def watch():
            counts = []
            while not over.is_set():
                counts.append(ds.stats().records)
            return counts

        watcher = Background(watch)
        readers = [Background(lambda: [records(ds) for _ in range(EPOCHS // 4)]) for _ in range(4)]
        for reader in readers:
            reader.result(60)
        over.set()
        counts = watcher.result()
        assert counts == sorted(counts)
        wait_until(lambda: ds.stats().records == before + EPOCHS * RECORDS)
