# SPDX-License-Identifier: Apache-2.0
"""RecordWriter and ChannelWriter: what they write, faults on purpose, how they are stopped."""

import gzip
import os
import resource
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipe_helpers import COMPRESSIONS, FORMATS, Background, Script, stream
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow.records import ChannelWriter, RecordReader, RecordWriter


def read_all(path):
    """All bytes of a FIFO, read like any other program would."""
    return Path(path).read_bytes()


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compression", "decompress"),
    [(None, bytes), ("", bytes), ("gzip", gzip.decompress), ("ZLIB", zlib.decompress)],
)
def test_a_file_is_what_others_expect(compression, decompress, tmp_path):
    path = tmp_path / "file"
    records = [b"one", b"", b"two" * 100_000]
    with RecordWriter(path, "TextLine", compression_type=compression) as writer:
        for record in records:
            writer.write(record)
    assert decompress(path.read_bytes()) == b"".join(record + b"\n" for record in records)


def test_equal_records_make_equal_files(tmp_path):
    for name in "ab":
        with RecordWriter(tmp_path / name, "TFRecord", compression_type="GZIP") as writer:
            writer.write(b"record")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_without_records(tmp_path):
    path = tmp_path / "file"
    for compression in (None, "GZIP", "ZLIB"):
        writer = RecordWriter(path, compression_type=compression)
        writer.close()
        writer.close()
        assert list(RecordReader(path, compression_type=compression)) == []


@pytest.mark.parametrize(
    "options",
    [
        {"record_format": "CSV"},
        {"compression_type": "BZIP2"},
        {"recordio_parts": "glued"},
        {"recordio_max_part_bytes": 0},
        {"recordio_max_part_bytes": 1 << 29},
    ],
)
def test_wrong_arguments_touch_no_file(options, tmp_path):
    path = tmp_path / "file"
    with pytest.raises(rec.InvalidArgumentError):
        RecordWriter(path, **options)
    assert not path.exists()


def test_a_text_line_has_no_newline(tmp_path):
    with (
        RecordWriter(tmp_path / "file", "TextLine") as writer,
        pytest.raises(ValueError, match="newline"),
    ):
        writer.write(b"two\nlines")


class WriterFailedError(Exception):
    pass


def write_and_fail(writer, records, error):
    with writer:
        for record in records:
            writer.write(record)
        raise error


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("before", [None, b"what was there"], ids=["new", "replaced"])
def test_a_writer_that_fails_leaves_nothing(record_format, compression, before, tmp_path):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    records = [os.urandom(100).hex().encode() for _ in range(1000)]
    writer = RecordWriter(path, record_format, compression_type=compression)
    with pytest.raises(WriterFailedError):
        write_and_fail(writer, records, WriterFailedError())
    assert [one.name for one in tmp_path.iterdir()] == ([] if before is None else ["file"])
    assert before is None or path.read_bytes() == before
    writer.close()  # may be called again, and changes nothing
    assert before is None or path.read_bytes() == before


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path):
    writer = RecordWriter(tmp_path / "file", "TextLine")
    with pytest.raises(rec.InvalidArgumentError, match="newline"):
        write_and_fail(writer, [b"one line", b"two\nlines"], AssertionError())
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_once_it_is_closed(tmp_path):
    path = tmp_path / "file"
    writer = RecordWriter(path, "TextLine")
    writer.write(b"a" * 100_000)
    assert not path.exists()
    assert [one.name[:6] for one in tmp_path.iterdir()] == [".file."]
    writer.close()
    assert list(RecordReader(path, "TextLine")) == [b"a" * 100_000]
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_is_never_closed(tmp_path):
    writer = RecordWriter(tmp_path / "file", "TextLine")
    writer.write(b"a")
    with pytest.warns(RuntimeWarning, match=r"/file' is not written: close\(\) was not called"):
        del writer
    assert list(tmp_path.iterdir()) == []


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "file").touch(mode=0o640)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("new")
    for name in ("link", "dangling"):
        with RecordWriter(tmp_path / name, "TextLine") as writer:
            writer.write(b"a")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"a\n"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["dangling", "file", "link", "new"]


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(IsADirectoryError):
        RecordWriter(tmp_path)
    with pytest.raises(FileNotFoundError):
        RecordWriter(tmp_path / "none" / "file")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        RecordWriter(tmp_path / "circle")


def test_a_full_disk_leaves_nothing(tmp_path):
    path = tmp_path / "file"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        writer = RecordWriter(path, "TextLine")
        writer.write(b"a" * 2000)
        with pytest.raises(OSError, match="File too large"):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("records", [[], [b"a"], [b"a"] * 100_000], ids=len)
def test_a_fifo_is_written_itself(compression, records, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = Background(read_all, path)
    with RecordWriter(path, "TextLine", compression_type=compression) as writer:
        for record in records:
            writer.write(record)
    assert reader.result() == stream(records, "TextLine", compression)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
@pytest.mark.parametrize("records", [[], [b"a"], [b"a"] * 100_000], ids=len)
def test_compressed_data_in_a_fifo_is_cut_when_the_writer_fails(compression, records, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = Background(read_all, path)
    writer = RecordWriter(path, "TextLine", compression_type=compression)
    with pytest.raises(WriterFailedError):
        write_and_fail(writer, records, WriterFailedError())
    (tmp_path / "cut").write_bytes(reader.result())
    with pytest.raises(rec.DataLossError):
        list(RecordReader(tmp_path / "cut", "TextLine", compression_type=compression))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cut", "fifo"]


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_an_open_file_is_written_itself(path, tmp_path):
    code = (
        "import sys; from sagemaker_tensorflow.records import RecordWriter\n"
        "with RecordWriter(sys.argv[1], 'TextLine') as writer: writer.write(b'a')"
    )
    with (tmp_path / "file").open("wb") as file:
        number = (tmp_path / "file").stat().st_ino
        subprocess.run([sys.executable, "-c", code, path], stdout=file, check=True, timeout=60)
    assert (tmp_path / "file").read_bytes() == b"a\n"
    assert (tmp_path / "file").stat().st_ino == number
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


# --- Channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        bytearray(b"bytearray"),
        memoryview(b"-memoryview-")[1:-1],
        np.arange(12, dtype=np.int32).reshape(3, 4),
        b"long" * (1 << 20),
        b"",
    ],
    ids=["bytes", "bytearray", "memoryview", "numpy", "long", "empty"],
)
@pytest.mark.parametrize("chunk_bytes", [1000, 1 << 20])
def test_an_epoch_is_what_was_written(data, chunk_bytes, tmp_path):
    writer = ChannelWriter(tmp_path, "c", first_epoch=7, chunk_bytes=chunk_bytes)
    assert (writer.epoch, writer.path) == (7, str(tmp_path / "c_7"))
    for epoch in (7, 8):
        os.mkfifo(tmp_path / f"c_{epoch}")  # one that is there is taken
        reader = Background(read_all, writer.path)
        writer.begin_epoch()
        assert writer.write(data)
        assert writer.write(data)
        writer.end_epoch()
        assert reader.result() == bytes(data) * 2
        assert writer.bytes_written == 2 * len(bytes(data))
        assert not writer.reader_closed
        assert writer.epoch == epoch + 1


def test_what_cannot_be_written(tmp_path):
    writer = ChannelWriter(tmp_path, "c")
    with pytest.raises(TypeError, match="bytes-like"):
        writer.write("text")
    with pytest.raises((ValueError, BufferError), match="contiguous"):
        writer.write(np.zeros((4, 4))[:, 1])


def test_calls_come_in_order(tmp_path):
    writer = ChannelWriter(tmp_path, "c")
    with pytest.raises(rec.FailedPreconditionError, match=r"write\(\) without begin_epoch"):
        writer.write(b"")
    with pytest.raises(rec.FailedPreconditionError, match=r"end_epoch\(\) without begin_epoch"):
        writer.end_epoch()
    os.mkfifo(writer.path)
    reader = Background(read_all, writer.path)
    writer.begin_epoch()
    with pytest.raises(rec.FailedPreconditionError, match="before the end"):
        writer.begin_epoch()
    writer.end_epoch()
    assert reader.result() == b""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_bytes": 0}, "chunk_bytes must be at least 1"),
        ({"bytes_per_second": 0}, "bytes_per_second must be positive"),
        ({"fault": "explode"}, "None, 'stop', 'stall', 'die'"),
        ({"fault_at_byte": -1}, "fault_at_byte must be at least 0"),
        ({"first_epoch": -1}, "first_epoch must be at least 0"),
        ({"channel": "a/b"}, "not a valid channel name"),
    ],
)
def test_arguments_are_checked(options, message, tmp_path):
    with pytest.raises(rec.InvalidArgumentError, match=message):
        ChannelWriter(**({"pipe_dir": tmp_path, "channel": "c"} | options))


def test_a_fifo_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot make FIFO"):
        ChannelWriter(tmp_path / "nothing", "c").begin_epoch()
    (tmp_path / "c_0").write_bytes(b"")
    with pytest.raises(rec.FailedPreconditionError, match="is not a FIFO"):
        ChannelWriter(tmp_path, "c").begin_epoch()


def test_a_reader_that_closes_early(tmp_path):
    writer = ChannelWriter(tmp_path, "c")
    os.mkfifo(writer.path)
    reader = RecordReader(writer.path, "TextLine")
    writer.begin_epoch()
    assert writer.write(b"line\n")
    assert next(reader) == b"line"
    reader.close()
    assert not writer.write(b"line\n")
    assert not writer.write(b"line\n")
    writer.end_epoch()
    assert writer.reader_closed
    assert writer.bytes_written == 5


def test_the_throttle(tmp_path):
    writer = ChannelWriter(tmp_path, "c", chunk_bytes=1000, bytes_per_second=100_000)
    os.mkfifo(writer.path)
    reader = Background(read_all, writer.path)
    writer.begin_epoch()
    begun = time.monotonic()
    writer.write(bytes(10_000))
    assert time.monotonic() - begun >= 0.1
    writer.end_epoch()
    assert len(reader.result()) == 10_000


# --- Faults ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(data=st.binary(min_size=1, max_size=100), at=st.integers(0, 100), chunk=st.integers(1, 100))
def test_stop(tmp_path_factory, data, at, chunk):
    pipe_dir = tmp_path_factory.mktemp("stop")
    writer = ChannelWriter(pipe_dir, "c", chunk_bytes=chunk, fault="stop", fault_at_byte=at)
    os.mkfifo(writer.path)
    reader = Background(read_all, writer.path)
    writer.begin_epoch()
    assert writer.write(data) == (len(data) <= at)
    writer.end_epoch()
    assert reader.result() == data[:at]


def test_stall(tmp_path):
    writer = ChannelWriter(tmp_path, "c", fault="stall", fault_at_byte=5)
    os.mkfifo(writer.path)
    reader = RecordReader(writer.path, "TextLine", read_timeout=0.1)
    writer.begin_epoch()
    write = Background(writer.write, b"one\ntwo\n")
    assert next(reader) == b"one"
    with pytest.raises(rec.DeadlineExceededError):
        next(reader)
    reader.close()
    assert write.result() is False
    assert writer.reader_closed


def test_die(tmp_path):
    code = """
        import sys
        from sagemaker_tensorflow.records import ChannelWriter

        writer = ChannelWriter(sys.argv[1], "c", fault="die", fault_at_byte=3)
        writer.begin_epoch()
        writer.write(b"abcdef")
    """
    os.mkfifo(tmp_path / "c_0")
    with Script(code, tmp_path) as script:
        assert read_all(tmp_path / "c_0") == b"abc"
        assert script.finish()[0] == -signal.SIGKILL


# --- Stopping it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("blocked_in", ["begin_epoch", "write", "stall", "throttle"])
def test_cancel_wakes_a_blocked_call(blocked_in, tmp_path):
    options = {
        "stall": {"fault": "stall"},
        "throttle": {"bytes_per_second": 1, "chunk_bytes": 10},
    }
    writer = ChannelWriter(tmp_path, "c", **options.get(blocked_in, {}))
    os.mkfifo(writer.path)
    if blocked_in == "begin_epoch":
        call = Background(writer.begin_epoch)
    else:
        reader = RecordReader(writer.path)
        writer.begin_epoch()
        call = Background(writer.write, bytes(8 << 20))
    call.wait_until_blocked()
    begun = time.monotonic()
    writer.cancel()
    with pytest.raises(rec.CancelledError):
        call.result()
    assert time.monotonic() - begun < 1
    with pytest.raises(rec.CancelledError, match="writer is closed"):
        writer.begin_epoch()
    if blocked_in != "begin_epoch":
        # The FIFO is closed: what is read ends, and does not wait.
        with pytest.raises((rec.DataLossError, StopIteration)):
            next(reader)


def test_ctrl_c(tmp_path):
    code = """
        import sys
        from sagemaker_tensorflow.records import ChannelWriter

        ChannelWriter(sys.argv[1], "c").begin_epoch()
    """
    with Script(code, tmp_path) as script:
        script.wait_until_blocked()
        begun = time.monotonic()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
    assert time.monotonic() - begun < 1.5
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_threads_take_turns(tmp_path):
    writer = ChannelWriter(tmp_path, "c", chunk_bytes=100)
    os.mkfifo(writer.path)
    reader = Background(read_all, writer.path)
    writer.begin_epoch()
    pieces = [bytes([i]) * 50_000 for i in range(8)]
    threads = [Background(writer.write, piece) for piece in pieces]
    assert all(thread.result() for thread in threads)
    writer.end_epoch()
    data = reader.result()
    assert sorted(data[i : i + 50_000] for i in range(0, len(data), 50_000)) == pieces


def test_streams_of_the_helpers_are_what_the_writer_writes(tmp_path):
    records = [b"one", b"two"]
    for record_format in ("RecordIO", "TFRecord"):
        with RecordWriter(tmp_path / "file", record_format, compression_type="GZIP") as writer:
            for record in records:
                writer.write(record)
        assert (tmp_path / "file").read_bytes() == stream(records, record_format, "GZIP")
