# SPDX-License-Identifier: Apache-2.0
"""RecordReader and ChannelReader: what comes out, how it ends, threads, signals, processes."""

import contextlib
import gc
import itertools
import os
import signal
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipe_helpers import (
    COMPRESSIONS,
    FORMATS,
    LONG,
    WINDOW_BITS,
    Background,
    Script,
    feed,
    feed_nothing_for_ever,
    is_blocked,
    lists_of_records,
    stream,
    wait_until,
)
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow import testing
from sagemaker_tensorflow.records import ChannelReader, RecordReader, RecordWriter

property_test = settings(max_examples=25, deadline=None)


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def file_of(tmp_path):
    """Makes a file of the given bytes."""

    def make(data):
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return make


def split(batch):
    data, offsets = batch
    return [data[a:b].tobytes() for a, b in itertools.pairwise(offsets)]


# --- What comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_any_records_in_any_chunks_through_a_fifo(record_format, compression, tmp_path_factory):
    @property_test
    @given(
        epochs=st.lists(lists_of_records(record_format), min_size=1, max_size=2),
        chunk_bytes=st.integers(1, 100) | st.sampled_from([4096, 65536, 1 << 20]),
    )
    def check(epochs, chunk_bytes):
        # Tiny chunks are for the seams; a megabyte in them is but slow.
        if sum(map(len, itertools.chain(*epochs))) > 100_000:
            chunk_bytes = max(chunk_bytes, 4096)
        options = {"compression_type": compression}
        with testing.serve(
            {"c": epochs}, record_format, chunk_bytes=chunk_bytes, **options
        ) as host:
            for number, expected in enumerate(epochs):
                reader = ChannelReader(
                    "c",
                    record_format,
                    pipe_dir=host.pipe_dir,
                    state_dir=host.state_dir,
                    open_timeout=30,
                    **options,
                )
                assert list(reader) == expected
                assert (reader.epoch, reader.records) == (number, len(expected))

    check()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_any_records_by_any_calls_from_a_file(record_format, compression, tmp_path):
    path = tmp_path / "file"

    @property_test
    @given(
        records=lists_of_records(record_format),
        calls=st.lists(st.tuples(st.sampled_from(["next", "batch", "skip"]), st.integers(1, 5))),
    )
    def check(records, calls):
        with RecordWriter(path, record_format, compression_type=compression) as writer:
            for record in records:
                writer.write(record)
        left = list(records)
        with RecordReader(path, record_format, compression_type=compression) as reader:
            for call, count in calls:
                if call == "next":
                    assert next(reader, None) == (left.pop(0) if left else None)
                    continue
                expected, left = left[:count], left[count:]
                if call == "batch":
                    assert split(reader.read_batch(count)) == expected
                else:
                    assert reader.skip(count) == len(expected)
                assert reader.records == len(records) - len(left)
            assert list(reader) == left

    check()


@property_test
@given(
    records=st.lists(st.binary(max_size=64)),
    max_part_bytes=st.integers(1, 16),
)
def test_recordio_in_parts(records, max_part_bytes, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "parts"
    path.write_bytes(stream(records, "RecordIO", recordio_max_part_bytes=max_part_bytes))
    assert list(RecordReader(path)) == records


@property_test
@given(
    st.lists(
        st.lists(st.sampled_from([b"\x0a\x23\xd7\xce", b"\x0a\x23", b"abcd", b""])).map(b"".join)
    )
)
def test_recordio_with_the_magic_number_inside(tmp_path_factory, records):
    path = tmp_path_factory.getbasetemp() / "dmlc"
    path.write_bytes(stream(records, "RecordIO", recordio_parts="dmlc"))
    assert list(RecordReader(path, recordio_parts="dmlc")) == records


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_long_records(record_format, compression, fifo):
    records = [b"a" * LONG, b"", b"b" * (LONG + 1), b"c"]
    feed(fifo, stream(records, record_format, compression))
    assert list(RecordReader(fifo, record_format, compression_type=compression)) == records


def test_names_compare_without_case(file_of):
    path = file_of(stream([b"a"], "TFRecord", "GZIP"))
    assert list(RecordReader(path, "tfrecord", compression_type="Gzip")) == [b"a"]
    assert list(RecordReader(file_of(b"a\n"), "TEXTLINE", compression_type="")) == [b"a"]


def test_end_is_the_end(file_of):
    reader = RecordReader(file_of(stream([b"a"], "TFRecord")), "TFRecord")
    assert iter(reader) is reader
    assert list(reader) == [b"a"]
    assert list(reader) == []
    assert reader.skip(1) == 0
    assert split(reader.read_batch(1)) == []
    assert (reader.records, reader.corrupted_records) == (1, 0)


def test_batches_are_arrays_of_their_own(file_of):
    records = [b"one", b"", b"three" * LONG, b"four"]
    reader = RecordReader(file_of(stream(records, "TFRecord")), "TFRecord")
    batches = [reader.read_batch(3), reader.read_batch(3), reader.read_batch(3)]
    reader.close()
    del reader
    gc.collect()
    for data, offsets in batches:
        assert (data.dtype, offsets.dtype) == (np.uint8, np.int64)
        assert data.ndim == offsets.ndim == 1
        assert data.flags.writeable
        assert offsets[0] == 0
        assert offsets[-1] == len(data)
    assert [split(batch) for batch in batches] == [records[:3], records[3:], []]


@pytest.mark.parametrize("count", [0, -1])
def test_a_batch_has_at_least_one_record(count, file_of):
    reader = RecordReader(file_of(b"a\n"), "TextLine")
    with pytest.raises(rec.InvalidArgumentError, match="max_records must be at least 1"):
        reader.read_batch(count)
    with pytest.raises(rec.InvalidArgumentError, match="count must be at least 0"):
        reader.skip(-1)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", ["RecordIO", "TFRecord"])
def test_every_truncation_is_found(record_format, compression, file_of):
    records = [b"first", b"second"]
    data = stream(records, record_format, compression)
    whole = {0}  # truncations that leave a valid stream
    if compression is None:
        whole |= {len(stream(records[:1], record_format)), len(data)}
    for size in range(len(data)):
        reader = RecordReader(file_of(data[:size]), record_format, compression_type=compression)
        got = []
        with contextlib.nullcontext() if size in whole else pytest.raises(rec.DataLossError):
            got.extend(reader)  # keeps what came before the error
        assert got == records[: len(got)]
        assert list(reader) == []


def test_a_batch_ends_before_an_error(file_of):
    records = [b"one", b"two"]
    reader = RecordReader(file_of(stream(records, "TFRecord") + b"rest"), "TFRecord")
    assert split(reader.read_batch(10)) == records
    with pytest.raises(rec.DataLossError, match=r"file': record 2 at byte 38: .*header"):
        reader.read_batch(10)
    assert split(reader.read_batch(10)) == []


@pytest.mark.parametrize("call", ["next", "skip"])
def test_the_error_behind_a_batch_reaches_other_calls(call, file_of):
    reader = RecordReader(file_of(stream([b"a"], "TFRecord") + b"rest"), "TFRecord")
    reader.read_batch(10)
    with pytest.raises(rec.DataLossError):
        next(reader) if call == "next" else reader.skip(1)
    assert list(reader) == []


def corrupt(record):
    """A TFRecord whose payload has one wrong bit."""
    data = bytearray(stream([record], "TFRecord"))
    data[12] ^= 1
    return bytes(data)


def test_after_a_corrupt_record_comes_the_next(file_of):
    data = stream([b"a"], "TFRecord") + corrupt(b"b") + stream([b"c"], "TFRecord")
    reader = RecordReader(file_of(data), "TFRecord")
    assert next(reader) == b"a"
    with pytest.raises(rec.CorruptRecordError, match="record 1 at byte 17: payload CRC"):
        next(reader)
    assert next(reader) == b"c"
    assert (reader.records, reader.corrupted_records) == (2, 1)

    reader = RecordReader(file_of(data), "TFRecord")
    assert split(reader.read_batch(3)) == [b"a"]
    with pytest.raises(rec.CorruptRecordError):
        reader.read_batch(3)
    assert split(reader.read_batch(3)) == [b"c"]

    reader = RecordReader(file_of(data), "TFRecord", max_corrupted_records_to_skip=1)
    assert list(reader) == [b"a", b"c"]
    assert (reader.records, reader.corrupted_records) == (2, 1)


@pytest.mark.parametrize(
    ("data", "options", "hint"),
    [
        (stream([b"a"], "TFRecord"), {}, "record_format='TFRecord'"),
        (stream([b"a"], "RecordIO"), {"record_format": "TFRecord"}, "record_format='RecordIO'"),
        (stream([b"a"], "RecordIO", "GZIP"), {}, "compression_type='GZIP'"),
        (b"plain text", {"compression_type": "GZIP"}, "really gzip"),
    ],
)
def test_a_likely_cause_is_named(data, options, hint, file_of):
    with pytest.raises(rec.DataLossError, match=hint):
        next(RecordReader(file_of(data), **options))


MEASURE_MEMORY = """
    import resource, sys
    import numpy, numpy.random  # what a batch needs, before the measurement
    from sagemaker_tensorflow.records import PipeError, RecordReader

    path, record_format, compression, limit = sys.argv[1:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = RecordReader(path, record_format, compression_type=compression,
                          max_record_bytes=int(limit))
    try:
        for call in (next, lambda r: r.read_batch(8), lambda r: r.skip(10**9)):
            while call(reader) == 0:
                pass
    except (PipeError, StopIteration) as error:
        print(type(error).__name__, error)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def tfrecord_header(length):
    """A TFRecord header that is valid, whatever follows."""
    data = length.to_bytes(8, "little")
    return data + masked_crc(data)


@pytest.mark.parametrize(
    ("record_format", "data", "error"),
    [
        ("TFRecord", tfrecord_header(1 << 60) + b"x" * 100, "max_record_bytes"),
        ("TFRecord", tfrecord_header((1 << 30) - 1) + b"x" * 100, "ends inside"),
        ("RecordIO", bytes.fromhex("0a23d7ce ffffff1f") + b"x" * 100, "ends inside"),
    ],
    ids=["beyond-limit", "beyond-stream", "recordio"],
)
def test_no_memory_on_the_word_of_a_length(record_format, data, error, file_of):
    with Script(MEASURE_MEMORY, file_of(data), record_format, "", 1 << 30) as script:
        code, output, errors = script.finish()
    assert code == 0, errors
    message, megabytes = output.splitlines()
    assert message.startswith("DataLossError")
    assert error in message
    assert int(megabytes) < 16


def test_a_record_that_does_not_fit_in_memory_is_not_left_out(tmp_path):
    path = tmp_path / "file"
    long = 1 << 28
    with path.open("wb") as file:
        file.write(stream([b"first"], "RecordIO"))
        file.write(struct.pack("<II", 0xCED7230A, long))
        file.seek(long, os.SEEK_CUR)
        file.write(stream([b"last"], "RecordIO"))
    code = """
        import resource, sys
        from sagemaker_tensorflow.records import RecordReader

        reader = RecordReader(sys.argv[1])
        assert next(reader) == b"first"
        with open("/proc/self/statm") as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 27), resource.RLIM_INFINITY))
        try:
            next(reader)
        except MemoryError:
            print("no memory", list(reader))
    """
    with Script(code, path) as script:
        code, output, errors = script.finish()
    assert (code, output) == (0, "no memory []\n"), errors


def test_a_gzip_bomb_streams_through(file_of):
    # A quarter of a GiB in a quarter of a MiB; the whole one takes Python too long to make.
    compressor = zlib.compressobj(1, wbits=WINDOW_BITS["GZIP"])
    record = stream([bytes(1 << 20)], "TFRecord")
    data = b"".join(compressor.compress(record) for _ in range(256)) + compressor.flush()
    with Script(MEASURE_MEMORY, file_of(data), "TFRecord", "GZIP", 1 << 20) as script:
        code, output, errors = script.finish()
    assert code == 0, errors
    assert int(output.splitlines()[-1]) < 48  # of 256; a batch of 8 is among them


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"record_format": "CSV"}, "'RecordIO', 'TFRecord', 'TextLine'"),
        ({"compression_type": "lzma"}, "'GZIP', 'ZLIB'"),
        ({"recordio_parts": "glued"}, "'joined', 'dmlc'"),
        ({"max_record_bytes": 0}, "max_record_bytes must be at least 1"),
        ({"max_corrupted_records_to_skip": -1}, "must be at least 0"),
        ({"read_timeout": 0}, "read_timeout must be a positive number"),
        ({"read_timeout": float("nan")}, "read_timeout must be a positive number"),
    ],
)
def test_arguments_are_checked(options, message, file_of, tmp_path):
    with pytest.raises(rec.InvalidArgumentError, match=message):
        RecordReader(file_of(b""), **options)
    with pytest.raises(ValueError, match=message):
        ChannelReader("c", **options, pipe_dir=tmp_path, state_dir=tmp_path)


def test_a_channel_name_is_no_path(tmp_path):
    with pytest.raises(rec.InvalidArgumentError, match="not a valid channel name"):
        ChannelReader("../c", pipe_dir=tmp_path, state_dir=tmp_path)


@pytest.mark.parametrize("argument", [{}, {"pipe_dir": "none"}, {"pipe_dir": "file"}])
def test_a_channel_reader_without_a_pipe_folder_fails_at_once(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    (tmp_path / "file").touch()
    begin = time.monotonic()
    with pytest.raises(rec.NotFoundError, match=r"there is no folder '.*pass pipe_dir, or set SAG"):
        rec.ChannelReader("training", **argument)
    assert time.monotonic() - begin < 10
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_only_files_and_fifos_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot open '.*nothing'"):
        RecordReader(tmp_path / "nothing")
    with pytest.raises(rec.FailedPreconditionError, match="neither a FIFO nor a regular file"):
        RecordReader(tmp_path)


def test_a_path_need_not_be_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    with pytest.raises(rec.NotFoundError) as caught:
        RecordReader(path)
    assert path in str(caught.value)
    Path(path).write_bytes(b"line\n")
    assert list(RecordReader(path, "TextLine")) == [b"line"]


# --- Limits of time -------------------------------------------------------------------------------


def test_nobody_writes(fifo):
    reader = RecordReader(fifo, read_timeout=0.05)
    with pytest.raises(rec.DeadlineExceededError, match=r"fifo.*read_timeout") as caught:
        next(reader)
    assert isinstance(caught.value, TimeoutError)
    assert list(reader) == []


def test_a_writer_falls_silent(fifo):
    reader = RecordReader(fifo, "TFRecord", read_timeout=0.2)
    opened = threading.Event()
    go_on = threading.Event()

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(stream([b"a"], "TFRecord") + b"half")
            opened.set()
            go_on.wait(30)

    writer = Background(write)
    try:
        assert next(reader) == b"a"
        with pytest.raises(rec.DeadlineExceededError):
            next(reader)
    finally:
        go_on.set()
    writer.result()


def test_no_fifo_comes(tmp_path):
    reader = ChannelReader("c", pipe_dir=tmp_path, state_dir=tmp_path / "state", open_timeout=0.05)
    with pytest.raises(rec.DeadlineExceededError, match=r"channel 'c' epoch 0 .*c_0.*open_timeout"):
        next(reader)
    assert reader.epoch is None


def test_no_limit(fifo):
    reader = RecordReader(fifo, "TextLine", read_timeout=None)
    feed(fifo, b"a\n")
    assert list(reader) == [b"a"]


# --- Threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call", [next, lambda reader: reader.read_batch(3), lambda reader: reader.skip(3)]
)
def test_close_wakes_a_blocked_call(call, fifo):
    reader = RecordReader(fifo, "TextLine")
    blocked = Background(call, reader)
    blocked.wait_until_blocked()
    begun = time.monotonic()
    reader.close()
    with pytest.raises(rec.CancelledError):
        blocked.result()
    assert time.monotonic() - begun < 1
    for _ in range(2):
        with pytest.raises(rec.CancelledError, match="closed"):
            call(reader)
        reader.close()


def test_the_writer_notices_close(fifo):
    reader = RecordReader(fifo, "TextLine")
    noticed = []

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            try:
                while True:
                    pipe.write(b"line\n" * 1000)
            except BrokenPipeError:
                noticed.append(True)

    writer = Background(write)
    with reader:
        assert next(reader) == b"line"
    writer.result()
    assert noticed


def test_others_run_while_one_waits(fifo):
    reader = RecordReader(fifo, "TextLine")
    blocked = Background(next, reader)
    blocked.wait_until_blocked()
    assert sum(range(100_000)) > 0  # would wait for the GIL for ever
    assert reader.records == 0  # properties do not wait for the call
    feed(fifo, b"a\n")
    assert blocked.result() == b"a"


def test_threads_share_a_reader(fifo):
    records = [str(i).encode() for i in range(20_000)]
    reader = RecordReader(fifo, "TFRecord")

    def take(thread):
        got = []
        while True:
            if thread % 2:
                record = next(reader, None)
                new = [] if record is None else [record]
            else:
                new = split(reader.read_batch(7))
            if not new:
                return got
            got += new

    threads = [Background(take, i) for i in range(4)]
    data = stream(records, "TFRecord")
    feed(fifo, *[data[i : i + 10_000] for i in range(0, len(data), 10_000)])
    taken = [thread.result() for thread in threads]
    assert sorted(itertools.chain(*taken)) == sorted(records)
    assert all(got == sorted(got, key=int) for got in taken)
    assert reader.records == len(records)


def test_close_wakes_those_who_wait_for_their_turn(fifo):
    reader = RecordReader(fifo)
    threads = [Background(next, reader) for _ in range(3)]
    for thread in threads:
        thread.wait_until_blocked()
    reader.close()
    for thread in threads:
        with pytest.raises(rec.CancelledError):
            thread.result()


def test_threads_that_close(file_of):
    path = file_of(stream([b"x" * 100] * 5000, "TFRecord"))
    for _ in range(20):
        reader = RecordReader(path, "TFRecord")

        def use(reader=reader):
            with contextlib.suppress(rec.CancelledError):
                for _ in reader:
                    pass

        threads = [Background(use), Background(use), Background(reader.close)]
        for thread in threads:
            thread.result()


# --- Signals --------------------------------------------------------------------------------------

WAIT_FOR_A_RECORD = """
    import sys
    from sagemaker_tensorflow.records import ChannelReader, RecordReader

    kind, path = sys.argv[1:]
    if kind == "file":
        next(RecordReader(path))
    elif kind == "batch":
        RecordReader(path).read_batch(10)
    elif kind == "skip":
        RecordReader(path).skip(10)
    else:
        next(ChannelReader("nothing", pipe_dir=path, state_dir=path))
"""


@pytest.mark.parametrize("kind", ["file", "batch", "skip", "channel"])
def test_ctrl_c(kind, fifo, tmp_path):
    with Script(WAIT_FOR_A_RECORD, kind, tmp_path if kind == "channel" else fifo) as script:
        script.wait_until_blocked()
        begun = time.monotonic()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
    assert time.monotonic() - begun < 1.5  # the interpreter's own end included
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("call", ["next(reader)", "reader.read_batch(10)", "reader.skip(10)"])
def test_ctrl_c_where_there_is_data_for_ever_and_never_a_record(call, make_job):
    job = make_job()
    job.make_fifo()
    code = f"""
        import sys, threading
        from sagemaker_tensorflow.records import ChannelReader

        pipe_dir, state_dir = sys.argv[1:]
        reader = ChannelReader(
            "training", "TFRecord", compression_type="GZIP", pipe_dir=pipe_dir, state_dir=state_dir
        )
        {call}
    """
    with Script(code, job.pipe_dir, job.state_dir) as script:
        writer = feed_nothing_for_ever(job.pipe())
        wait_until(lambda: job.state() == "1", timeout=60)
        begun = time.monotonic()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
        assert time.monotonic() - begun < 1.5  # the interpreter's own end included
        writer.result()
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_others_run_where_there_is_data_for_ever_and_never_a_record(fifo):
    reader = RecordReader(fifo, "TFRecord", compression_type="GZIP")
    writer = feed_nothing_for_ever(fifo)
    reading = Background(next, reader)
    time.sleep(0.1)  # well into it; and this thread goes on
    reader.close()
    with pytest.raises(rec.CancelledError):
        reading.result()
    writer.result()


def test_ctrl_c_while_another_thread_reads(fifo):
    code = """
        import sys, threading
        from sagemaker_tensorflow.records import RecordReader

        reader = RecordReader(sys.argv[1])
        threading.Thread(target=next, args=[reader], daemon=True).start()
        next(reader)
    """
    with Script(code, fifo) as script:
        script.wait_until_blocked()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


@contextlib.contextmanager
def handler(function, signal_number=signal.SIGINT):
    before = signal.signal(signal_number, function)
    try:
        yield
    finally:
        signal.signal(signal_number, before)


def interrupt(signal_number=signal.SIGINT):
    signal.pthread_kill(threading.main_thread().ident, signal_number)


def wait_until_main_thread_blocks():
    wait_until(lambda: is_blocked(os.getpid()))


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_handler_that_does_not_raise_lets_the_read_go_on(signal_number, fifo):
    called = threading.Event()

    def then_feed():
        for _ in range(3):
            wait_until_main_thread_blocks()
            interrupt(signal_number)
            assert called.wait(30)
            called.clear()
        feed(fifo, b"a\n").result()

    with handler(lambda *_: called.set(), signal_number):
        feeder = Background(then_feed)
        assert next(RecordReader(fifo, "TextLine")) == b"a"
        feeder.result()


def test_a_signal_in_the_midst_of_a_long_record_costs_nothing(fifo):
    called = threading.Event()
    data = stream([b"x" * LONG], "TFRecord")

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(data[: LONG // 2])
            wait_until_main_thread_blocks()
            interrupt()
            assert called.wait(30)
            # Longer than the grace that the core gives a signal.
            time.sleep(0.1)
            pipe.write(data[LONG // 2 :])

    with handler(lambda *_: called.set()):
        writer = Background(write)
        assert list(RecordReader(fifo, "TFRecord")) == [b"x" * LONG]
        writer.result()


class RaisedError(Exception):
    pass


def raise_it(*_):
    raise RaisedError


def test_a_batch_survives_a_handler_that_raises(fifo):
    opened = threading.Event()
    raised = threading.Event()

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(b"one\ntwo\nthree\nfour\n")
            opened.set()
            wait_until_main_thread_blocks()
            interrupt()
            assert raised.wait(30)
            pipe.write(b"five\n")

    reader = RecordReader(fifo, "TextLine")
    with handler(raise_it):
        writer = Background(write)
        with pytest.raises(RaisedError):
            reader.read_batch(10)
        raised.set()
    assert next(reader) == b"one"
    assert split(reader.read_batch(1)) == [b"two"]
    assert reader.skip(1) == 1
    assert split(reader.read_batch(10)) == [b"four", b"five"]
    assert reader.records == 5
    writer.result()


def test_a_handler_may_close_the_reader(fifo):
    reader = RecordReader(fifo)
    with handler(lambda *_: reader.close()):
        Background(lambda: (wait_until_main_thread_blocks(), interrupt()))
        with pytest.raises(rec.CancelledError):
            next(reader)


def test_a_handler_cannot_read_in_the_midst_of_a_read(fifo):
    reader = RecordReader(fifo)
    with handler(lambda *_: next(reader)):
        Background(lambda: (wait_until_main_thread_blocks(), interrupt()))
        with pytest.raises(rec.FailedPreconditionError, match="signal handler"):
            next(reader)


def test_a_loop_without_waits_sees_signals(tmp_path):
    code = """
        import os, signal, sys, threading
        from sagemaker_tensorflow.records import RecordReader

        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        while True:
            RecordReader(sys.argv[1], "TFRecord").skip(10**12)
    """
    path = tmp_path / "file"
    path.write_bytes(stream([b"x"] * 100_000, "TFRecord"))
    with Script(code, path) as script:
        code, _, errors = script.finish()
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_the_interpreter_ends_while_a_daemon_thread_waits(fifo):
    code = """
        import sys, threading
        from sagemaker_tensorflow.records import RecordReader

        for path in sys.argv[1:]:
            threading.Thread(target=next, args=[RecordReader(path)], daemon=True).start()
    """
    with Script(code, fifo, fifo) as script:
        assert script.finish() == (0, "", "")


def test_the_interpreter_ends_while_daemon_threads_read(file_of):
    code = """
        import sys, threading
        from sagemaker_tensorflow.records import RecordReader

        def read():
            while True:
                for _ in RecordReader(sys.argv[1], "TextLine"):
                    pass

        for _ in range(4):
            threading.Thread(target=read, daemon=True).start()
    """
    path = file_of(b"line\n" * 1000)
    for _ in range(5):
        with Script(code, path) as script:
            assert script.finish() == (0, "", "")


# --- Epochs and processes -------------------------------------------------------------------------

READ_EPOCHS = """
    import sys
    from sagemaker_tensorflow.records import ChannelReader

    pipe_dir, state_dir, count = sys.argv[1:]
    for _ in range(int(count)):
        with ChannelReader("c", "TextLine", pipe_dir=pipe_dir, state_dir=state_dir,
                           open_timeout=60) as reader:
            records = list(reader)
            print(reader.epoch, len(records), *set(records))
"""


def test_two_processes_share_a_channel():
    epochs = [[str(epoch).encode()] * 100 for epoch in range(12)]
    with testing.serve({"c": epochs}, "TextLine") as host:
        scripts = [Script(READ_EPOCHS, host.pipe_dir, host.state_dir, 6) for _ in range(2)]
        with scripts[0], scripts[1]:
            results = [script.finish(60) for script in scripts]
    assert [code for code, _, _ in results] == [0, 0], results
    lines = [line for _, output, _ in results for line in output.splitlines()]
    assert sorted(lines) == sorted(f"{epoch} 100 b'{epoch}'" for epoch in range(12))


def test_killed_while_it_waits_it_leaves_the_epoch(tmp_path):
    pipe_dir, state_dir = tmp_path / "data", tmp_path / "state"
    pipe_dir.mkdir()
    os.mkfifo(pipe_dir / "c_0")
    with Script(READ_EPOCHS, pipe_dir, state_dir, 1) as script:
        script.wait_until_blocked()
        script.send(signal.SIGKILL)
        assert script.finish()[0] == -signal.SIGKILL
    feed(pipe_dir / "c_0", b"a\n")
    reader = ChannelReader("c", "TextLine", pipe_dir=pipe_dir, state_dir=state_dir)
    assert list(reader) == [b"a"]
    assert reader.epoch == 0


def test_closed_early_it_has_read_the_epoch():
    with testing.serve({"c": [[b"x" * 1000] * 10_000, [b"next"]]}, "TFRecord") as host:
        dirs = {"pipe_dir": host.pipe_dir, "state_dir": host.state_dir}
        with ChannelReader("c", "TFRecord", **dirs) as reader:
            assert next(reader) == b"x" * 1000
        with ChannelReader("c", "TFRecord", open_timeout=30, **dirs) as reader:
            assert list(reader) == [b"next"]
            assert reader.epoch == 1
    assert [report.reader_closed for report in host.reports["c"]] == [True, False]


def test_one_epoch_has_one_reader(tmp_path):
    (tmp_path / "c_0").write_bytes(b"a\nb\n")
    dirs = {"pipe_dir": tmp_path}
    first = ChannelReader("c", "TextLine", state_dir=tmp_path / "1", **dirs)
    assert next(first) == b"a"
    second = ChannelReader("c", "TextLine", state_dir=tmp_path / "2", **dirs)
    with pytest.raises(rec.FailedPreconditionError, match=f"process {os.getpid()}"):
        next(second)


@pytest.mark.parametrize("content", ["", "x", "-1", "99999999999999"])
def test_a_state_that_is_no_number(content, tmp_path):
    state = tmp_path / ".c-pipe_mode-state"
    state.write_text(content)
    with pytest.raises(rec.FailedPreconditionError, match="pipe_mode-state"):
        next(ChannelReader("c", pipe_dir=tmp_path, state_dir=tmp_path))
    assert state.read_text() == content


def test_folders_follow_the_environment(tmp_path, monkeypatch):
    with testing.serve({"c": [[b"a"], [b"b"]]}, base_dir=tmp_path / "opt") as host:
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", host.base_dir)
        monkeypatch.delenv("SM_INPUT_DIR", raising=False)
        assert list(ChannelReader("c")) == [b"a"]
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", "/nowhere")
        paths = {"pipe_dir": Path(host.pipe_dir), "state_dir": Path(host.state_dir)}
        assert list(ChannelReader("c", **paths)) == [b"b"]
