# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM while a dataset waits: the main thread is inside TensorFlow all the time."""

import os
import signal
import textwrap
import time

import pytest
from pipe_helpers import Background, feed, feed_nothing_for_ever, stream, wait_until

pytestmark = pytest.mark.long

A_MOMENT = 1.0  # what a person calls prompt

PRELUDE = """
import os, signal, sys, threading, time
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

def make(channel="training", open_timeout=60, **options):
    return PipeModeDataset(
        channel, "TFRecord", open_timeout=open_timeout, read_timeout=60, **options
    )

def say(*words):
    print(*words, time.monotonic(), flush=True)

ds = make()
"""

WAYS = {
    "eager": "next(iter(ds))",
    "eager without reading ahead": "next(iter(make(read_ahead_bytes=0)))",
    "loop": "for record in ds.repeat().batch(2): pass",
    "map and prefetch": """
        ds = ds.map(tf.strings.lower, num_parallel_calls=2).batch(2).prefetch(2)
        next(iter(ds))
    """,
    "map in batches": """
        ds = ds.repeat().prefetch(2).map(tf.strings.lower, num_parallel_calls=2).batch(2)
        next(iter(ds))
    """,
    "interleave": """
        channels = tf.data.Dataset.from_tensors("training")
        next(iter(channels.interleave(make, num_parallel_calls=2)))
    """,
    "shuffle": "next(iter(ds.shuffle(10)))",
    "tf.function": """
        @tf.function
        def count(ds):
            number = 0
            for record in ds:
                number += 1
            return number

        count(ds)
    """,
    "fit": """
        model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(ds.map(lambda record: (tf.ones([3]), tf.ones([1]))).batch(2), verbose=0)
    """,
}


def program(code):
    return PRELUDE + textwrap.dedent(code)


def seconds_since(begun, line):
    """How long after ``begun`` a program said ``line``."""
    return float(line.split()[-1]) - begun


def write_nothing(job, *records):
    """Opens the FIFO of epoch 0 when the reader does, sends ``records`` and no more."""

    def write():
        writer = os.open(job.make_fifo(), os.O_WRONLY)
        os.write(writer, stream(records, "TFRecord"))
        return writer

    return Background(write)


@pytest.fixture
def run(fork_server):
    """Runs ``PRELUDE`` and ``code``."""
    return lambda code: fork_server.run(program(code))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("missing", ["FIFO", "data"])
def test_ctrl_c(job, run, missing, way):
    writing = write_nothing(job) if missing == "data" else None
    code = "try:\n" + textwrap.indent(textwrap.dedent(WAYS[way]), "    ")
    code += textwrap.dedent("""
        except KeyboardInterrupt:
            say("interrupted")
            raise
    """)
    with run(code) as child:
        if writing is not None:
            wait_until(lambda: job.state() == "1", timeout=60)
        child.wait_until_blocked()
        begun = time.monotonic()
        child.send(signal.SIGINT)
        # What remains is for Python to take TensorFlow apart, which needs a second or two.
        assert child.wait() == -signal.SIGINT, child.stderr
        assert child.stdout.startswith("interrupted"), child.stderr
        assert seconds_since(begun, child.stdout) < A_MOMENT
        assert "\nKeyboardInterrupt\n" in child.stderr
    if writing is not None:
        os.close(writing.result())


@pytest.mark.parametrize("options", ["", "read_ahead_bytes=0"])
def test_ctrl_c_where_there_is_data_for_ever_and_never_a_record(job, run, options):
    writer = feed_nothing_for_ever(job.make_fifo())
    with run(f"""
        iterator = iter(make(compression_type="GZIP", {options}))
        try:
            say("begins")
            next(iterator)
        except KeyboardInterrupt:
            say("interrupted")
            raise
    """) as child:
        child.wait_for_output("begins")
        wait_until(lambda: job.state() == "1", timeout=60)
        begun = time.monotonic()
        child.send(signal.SIGINT)
        child.wait_for_output("interrupted")
        assert seconds_since(begun, child.stdout) < A_MOMENT
        assert child.wait() == -signal.SIGINT, child.stderr
        writer.result()


def test_reading_goes_on_after_ctrl_c(job, run):
    """What was claimed is not lost, whatever part of it was there."""
    frame = stream([b"first"], "TFRecord")
    with run("""
        iterator = iter(ds)
        for _ in range(3):
            try:
                next(iterator)
            except KeyboardInterrupt:
                say("interrupted")
        say(next(iterator).numpy().decode())
        say(next(iterator).numpy().decode())
    """) as child:
        child.wait_until_blocked()
        child.send(signal.SIGINT)  # while there is no FIFO
        child.wait_for_output("interrupted", 1)
        path = job.make_fifo()
        child.wait_until_blocked()
        child.send(signal.SIGINT)  # while there is no writer
        child.wait_for_output("interrupted", 2)
        writer = os.open(path, os.O_WRONLY)
        os.write(writer, frame[:10])
        wait_until(lambda: job.state() == "1")
        child.wait_until_blocked()
        child.send(signal.SIGINT)  # while there is half a record
        child.wait_for_output("interrupted", 3)
        os.write(writer, frame[10:] + frame)
        os.close(writer)
        assert child.wait() == 0, child.stderr
        assert child.stdout.count("first") == 2


def test_a_second_ctrl_c(job, run):
    """Somebody impatient."""
    with run("next(iter(ds.prefetch(1)))") as child:
        child.wait_until_blocked()
        for _ in range(5):
            child.send(signal.SIGINT)
        assert child.wait() == -signal.SIGINT, child.stderr


FINALIZERS = {
    "__del__": "garbage.__class__ = Finalized",
    "weakref.finalize": "weakref.finalize(garbage, sum, [])",
    "a set of weak references": "weak_set.add(garbage)",
}


@pytest.mark.parametrize("way", ["next(iter(ds))", "next(iter(ds.prefetch(1)))"])
@pytest.mark.parametrize("finalizer", FINALIZERS)
def test_a_finalizer_does_not_swallow_it(job, run, finalizer, way):
    """Python ignores what is raised while it collects garbage, which it may do at any moment."""
    with run(f"""
        import gc, weakref
        weak_set = weakref.WeakSet()

        class Garbage:
            pass

        class Finalized(Garbage):
            def __del__(self):
                for _ in range(3):
                    pass

        def interrupt():
            cycles = []
            for _ in range(10):
                garbage = Garbage()
                {FINALIZERS[finalizer]}
                garbage.itself = garbage
                cycles.append(garbage)
            del garbage
            time.sleep(0.5)
            gc.disable()
            gc.set_threshold(1)
            cycles.clear()
            os.kill(os.getpid(), signal.SIGINT)
            gc.enable()  # the main thread collects it
            time.sleep(60)

        threading.Thread(target=interrupt, daemon=True).start()
        {way}
    """) as child:
        assert child.wait() == -signal.SIGINT, child.stderr
        assert "\nKeyboardInterrupt\n" in child.stderr
        assert "Exception ignored" not in child.stderr


BEGINNINGS = {
    "before the first wait": """
        set_handler()
        iterator = iter(ds)
    """,
    "after the first wait": """
        try:
            next(iter(make("validation", open_timeout=0.05)))
        except tf.errors.DeadlineExceededError:
            pass
        set_handler()
        iterator = iter(ds)
    """,
    # TensorFlow reads ahead.
    "while a thread waits": """
        iterator = iter(ds.prefetch(1))
        next(iterator)
        set_handler()
    """,
}


@pytest.mark.parametrize("set_when", BEGINNINGS)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_handler_of_the_script(job, run, name, set_when):
    """It runs soon, and what it waits for is cancelled; then the script may do as it likes."""
    writing = write_nothing(job, *([b"first"] if set_when == "while a thread waits" else []))
    code = f"""
        def set_handler():
            signal.signal(signal.{name}, lambda *_: say("handler"))
        {BEGINNINGS[set_when]}
        say("ready")
        try:
            next(iterator)
        except tf.errors.CancelledError:
            say("cancelled")
        say(next(iterator).numpy().decode())
    """
    with run(code) as child:
        child.wait_for_output("ready")
        wait_until(lambda: job.state() == "1")
        child.wait_until_blocked()
        begun = time.monotonic()
        child.send(getattr(signal, name))
        child.wait_for_output("cancelled")
        handler, cancelled = child.stdout.splitlines()[-2:]
        assert handler.startswith("handler")
        # SIGTERM leaves data on its way another second.
        limit = A_MOMENT if name == "SIGINT" else 2 * A_MOMENT
        assert seconds_since(begun, handler) < limit
        assert seconds_since(begun, cancelled) < limit
        os.write(writing.result(), stream([b"late"], "TFRecord"))
        child.wait_for_output("late")
        assert child.wait() == 0, child.stderr
    os.close(writing.result())


def test_a_handler_that_raises(job, run):
    with run("""
        class Stop(Exception):
            pass

        def handler(*_):
            raise Stop

        signal.signal(signal.SIGTERM, handler)
        try:
            next(iter(ds))
        except Stop:
            say("stopped")
    """) as child:
        child.wait_until_blocked()
        begun = time.monotonic()
        child.send(signal.SIGTERM)
        assert child.wait() == 0, child.stderr
        assert seconds_since(begun, child.stdout) < 2 * A_MOMENT


TWO_SIGNALS = [
    [signal.SIGTERM, signal.SIGINT],
    [signal.SIGINT, signal.SIGTERM],
    # The second of a kind that waits counts no more than elsewhere.
    [signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM],
]


@pytest.mark.parametrize("sent", TWO_SIGNALS, ids=lambda sent: "-".join(s.name for s in sent))
@pytest.mark.parametrize("way", ["eager", "map and prefetch", "fit"])
def test_several_signals(job, run, way, sent):
    """Each handler runs, in the order in which the signals came: one of them saves the model."""
    code = """
        def write(word):  # at once: a handler may come within another, or within the script's own
            os.write(1, word + b"\\n")

        signal.signal(signal.SIGINT, lambda *_: write(b"SIGINT"))
        signal.signal(signal.SIGTERM, lambda *_: write(b"SIGTERM"))
        try:
    """
    code = textwrap.dedent(code) + textwrap.indent(textwrap.dedent(WAYS[way]), "    ")
    code += "\nexcept tf.errors.CancelledError:\n    write(b'cancelled')"
    with run(code) as child:
        child.wait_until_blocked()
        for number in sent:
            child.send(number)
            time.sleep(0.02)  # as far apart as those of a supervisor that is in a hurry
        assert child.wait() == 0, child.stderr
        # One that comes when the first of its kind was passed on already is another one; and it may
        # come when the wait is over.
        said = dict.fromkeys(child.stdout.split())
        assert said.pop("cancelled", "missing") is None, child.stdout
        assert list(said) == [s.name for s in dict.fromkeys(sent)]


@pytest.mark.parametrize("first", ["SIGTERM", "SIGINT"])
def test_a_handler_that_raises_takes_no_signal_from_another(job, run, first):
    second = {"SIGTERM": "SIGINT", "SIGINT": "SIGTERM"}[first]
    with run(f"""
        def raising(*_):
            say("first")
            raise KeyboardInterrupt

        signal.signal(signal.{first}, raising)
        signal.signal(signal.{second}, lambda *_: say("second"))
        try:
            next(iter(ds))
        except KeyboardInterrupt:
            say("interrupted")
        time.sleep(0.1)
    """) as child:
        child.wait_until_blocked()
        for name in (first, second):
            child.send(getattr(signal, name))
            time.sleep(0.02)
        assert child.wait() == 0, child.stderr
        said = [line.split()[0] for line in child.stdout.splitlines()]
        assert said[0] == "first"
        assert sorted(said[1:]) == ["interrupted", "second"]


def test_the_first_of_two_signals_sets_the_time(job, run):
    """SIGINT ends a wait soon, whether a SIGTERM that could wait came before it or comes after."""
    with run("""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for _ in range(2):
            try:
                next(iter(ds))
            except tf.errors.CancelledError:
                say("cancelled")
    """) as child:
        for count, sent in enumerate(TWO_SIGNALS[:2], start=1):
            child.wait_until_blocked()
            begun = time.monotonic()
            for number in sent:
                child.send(number)
                time.sleep(0.02)
            child.wait_for_output("cancelled", count)
            # Less than what SIGTERM alone would leave.
            assert seconds_since(begun, child.stdout.splitlines()[-1]) < A_MOMENT
        assert child.wait() == 0, child.stderr


@pytest.mark.parametrize("occupation", ["time.sleep(60)", "next(iter(ds))"])
def test_a_handler_of_somebody_else_is_told_who_sent_it(job, run, occupation):
    """One that a C library has set: it finds what the kernel gives, not null."""
    with run(f"""
        import ctypes

        class Info(ctypes.Structure):
            _fields_ = [(name, ctypes.c_int) for name in "signo errno code pad pid uid".split()]

        @ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.POINTER(Info), ctypes.c_void_p)
        def handler(number, info, context):
            told = info[0] if info and context else Info()
            os.write(1, b"handler %d %d %d\\n" % (number, told.signo, told.pid))
            os._exit(3)

        class Action(ctypes.Structure):
            _fields_ = [
                ("handler", type(handler)),
                ("mask", ctypes.c_ulong * 16),
                ("flags", ctypes.c_int),
                ("restorer", ctypes.c_void_p),
            ]

        siginfo = 4
        action = Action(handler, (ctypes.c_ulong * 16)(), siginfo, None)
        assert ctypes.CDLL(None).sigaction(signal.SIGTERM, ctypes.byref(action), None) == 0
        threading.Thread(target=next, args=[iter(ds.prefetch(1))], daemon=True).start()
        {occupation}
    """) as child:
        child.wait_until_blocked()
        child.send(signal.SIGTERM)
        assert child.wait() == 3, child.stderr
        number = int(signal.SIGTERM)
        assert child.stdout == f"handler {number} {number} {os.getpid()}\n"


def test_sigterm_without_a_handler(job, run):
    with run("next(iter(ds))") as child:
        child.wait_until_blocked()
        child.send(signal.SIGTERM)
        assert child.wait(timeout=10) == -signal.SIGTERM


def test_a_signal_that_is_ignored(job, run):
    """As in a background job of a shell without job control."""
    with run("""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say(next(iter(ds)).numpy().decode())
    """) as child:
        child.wait_until_blocked()
        child.send(signal.SIGINT)
        feed(job.make_fifo(), stream([b"late"], "TFRecord"))
        assert child.wait() == 0, child.stderr
        assert child.stdout.startswith("late")


def test_a_signal_while_data_flows_disturbs_nothing(serve, run):
    """A script that wants to save its model at the end of its step."""
    with (
        serve({"training": [iter(lambda: b"x" * 1000, None), [b"next"]]}) as job,
        run("""
            stop = False

            def handler(*_):
                global stop
                stop = True

            signal.signal(signal.SIGTERM, handler)
            say("ready")
            for record in ds.prefetch(2):
                assert len(record.numpy()) == 1000
                if stop:
                    say("stopped")
                    break
        """) as child,
    ):
        child.wait_for_output("ready")
        wait_until(lambda: job.state() == "1")
        child.send(signal.SIGTERM)
        assert child.wait() == 0, child.stderr
        assert "stopped" in child.stdout


@pytest.mark.parametrize(
    "occupation", ["time.sleep(60)", "threading.Event().wait()", "os.read(os.pipe()[0], 1)"]
)
def test_the_main_thread_does_something_else(job, run, occupation):
    """A thread waits for data meanwhile; the signal interrupts the main thread as ever."""
    writing = write_nothing(job, b"first")
    with run(f"""
        iterator = iter(ds.prefetch(1))
        next(iterator)
        say("ready")
        try:
            {occupation}
        except KeyboardInterrupt:
            say("interrupted")
        say(next(iterator).numpy().decode())
    """) as child:
        child.wait_for_output("ready")
        child.wait_until_blocked()
        begun = time.monotonic()
        child.send(signal.SIGINT)
        child.wait_for_output("interrupted")
        assert seconds_since(begun, child.stdout.splitlines()[-1]) < A_MOMENT
        os.write(writing.result(), stream([b"late"], "TFRecord"))  # the wait went on
        child.wait_for_output("late")
        assert child.wait() == 0, child.stderr
    os.close(writing.result())


def test_another_thread_of_the_script_reads(job, run):
    with run("""
        threading.Thread(target=next, args=[iter(ds)], daemon=True).start()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            say("interrupted")
            raise
    """) as child:
        child.wait_until_blocked()
        begun = time.monotonic()
        child.send(signal.SIGINT)
        assert child.wait() == -signal.SIGINT, child.stderr
        assert seconds_since(begun, child.stdout) < A_MOMENT


@pytest.mark.parametrize("ending", ["sys.exit(3)", "del iterator; sys.exit(3)"])
def test_a_script_that_ends_while_a_thread_waits(job, run, ending):
    writing = write_nothing(job, b"first")
    with run(f"""
        iterator = iter(ds.prefetch(1))
        next(iterator)
        {ending}
    """) as child:
        assert child.wait(timeout=30) == 3, child.stderr
    os.close(writing.result())


def test_a_forked_child_can_be_interrupted(job, run):
    """Its threads are gone, but the handlers stay."""
    with run("""
        try:
            next(iter(make(open_timeout=0.05)))
        except tf.errors.DeadlineExceededError:
            pass
        if os.fork() == 0:
            try:
                say("child", os.getpid())
                time.sleep(60)
            except KeyboardInterrupt:
                say("interrupted")
            os._exit(7)
        say("status", os.waitstatus_to_exitcode(os.wait()[1]))
    """) as child:
        child.wait_for_output("child")
        os.kill(int(child.stdout.split()[1]), signal.SIGINT)
        assert child.wait() == 0, child.stderr
        assert "interrupted" in child.stdout
        assert "status 7" in child.stdout


@pytest.mark.parametrize("options", ["", "read_ahead_bytes=0, "])
def test_ctrl_c_within_a_line_of_a_manifest(job, run, options):
    """The attributes that were there wait for those that were not."""
    with run(f"""
        ds = PipeModeDataset("training", attributes=("image", "label"), {options}read_timeout=60)
        iterator = iter(ds)
        for _ in range(3):
            try:
                line = next(iterator)
            except KeyboardInterrupt:
                say("interrupted")
                line = next(iterator)
            say(line["image"].numpy().decode(), line["label"].numpy().decode())
    """) as child:
        writer = os.open(job.make_fifo(), os.O_WRONLY)
        os.write(writer, stream([b"i0", b"l0", b"i1"], "RecordIO"))
        child.wait_for_output("i0 l0", 1)
        child.wait_until_blocked()
        child.send(signal.SIGINT)
        child.wait_for_output("interrupted", 1)
        os.write(writer, stream([b"l1", b"i2", b"l2"], "RecordIO"))
        os.close(writer)
        assert child.wait() == 0, child.stderr
        assert [line.rsplit(" ", 1)[0] for line in child.stdout.splitlines()] == [
            "i0 l0",
            "interrupted",
            "i1 l1",
            "i2 l2",
        ]
