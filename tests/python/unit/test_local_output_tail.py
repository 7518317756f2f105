# SPDX-License-Identifier: Apache-2.0
"""A script's output on its way: the same bytes, and the last of them kept."""

import contextlib
import os
import pty
import random
import threading
import time
from io import FileIO

import pytest
from sagemaker_tensorflow._local.script.output_tail import OutputTail


@pytest.fixture
def pipes():
    """Makes pipes; returns (reading end, writing end), which are closed at last."""
    with contextlib.ExitStack() as stack:

        def make():
            ends = os.pipe()
            return [
                stack.enter_context(FileIO(end, mode))
                for end, mode in zip(ends, ("rb", "wb"), strict=True)
            ]

        yield make


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    deadline = time.monotonic() + 20
    while any(thread.name == "pipemode-output" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Reader(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self._pipe = pipe
        self.content = b""
        self.start()

    def run(self):
        self.content = self._pipe.readall()

    def all_of(self, *writers):
        for writer in writers:
            writer.close()
        self.join(20)
        assert not self.is_alive()
        return self.content


def tail_of(out, err):
    return OutputTail((out.fileno(), err.fileno()))


def given_to_script(tail):
    """What the script would have as standard output and standard error."""
    ends = [FileIO(os.dup(end), "wb") for end in tail.output]
    tail.begin()
    return ends


def write_all(pipe, data):
    while data:
        data = data[pipe.write(data) :]


def test_same_bytes_in_two_places(pipes):
    (out, out_writer), (err, err_writer) = pipes(), pipes()
    readers = Reader(out), Reader(err)
    data = random.Random(1).randbytes(3_000_000)
    with tail_of(out_writer, err_writer) as tail:
        ends = given_to_script(tail)
        write_all(ends[0], data)
        ends[1].write(b"\xff words")
        for end in ends:
            end.close()
        tail.finish()
        assert readers[0].all_of(out_writer) == data
        assert readers[1].all_of(err_writer) == b"\xff words"
        assert tail.text().endswith("\ufffd words")


def test_order_in_one_place(pipes):
    reader, writer = pipes()
    other_writer = FileIO(os.dup(writer.fileno()), "wb")
    content = Reader(reader)
    with tail_of(writer, other_writer) as tail:
        ends = given_to_script(tail)
        for number in range(2000):
            ends[number % 2].write(b"%d\n" % number)
        for end in ends:
            end.close()
        tail.finish()
    expected = b"".join(b"%d\n" % number for number in range(2000))
    assert content.all_of(writer, other_writer) == expected
    assert tail.text() == expected.decode()


def test_only_the_end_is_kept(pipes):
    reader, writer = pipes()
    content = Reader(reader)
    with tail_of(writer, writer) as tail:
        ends = given_to_script(tail)
        for number in range(300_000):
            ends[0].write(b"%d\n" % number)
        for end in ends:
            end.close()
        tail.finish()
        text = tail.text()
    assert text.endswith("\n299998\n299999\n")
    assert len(text) == 1 << 18
    assert content.all_of(writer).endswith(b"\n299999\n")


def test_a_terminal_is_left_to_the_script(pipes):
    ours, theirs = pty.openpty()
    reader, writer = pipes()
    content = Reader(reader)
    with OutputTail((theirs, writer.fileno())) as tail:
        assert tail.output[0] == theirs
        assert tail.output[1] not in (theirs, writer.fileno())
        ends = given_to_script(tail)
        ends[1].write(b"words")
        for end in ends:
            end.close()
        tail.finish()
        assert tail.text() == "words"
    assert content.all_of(writer) == b"words"
    os.close(ours)
    os.close(theirs)


def test_what_is_closed_stays_so(pipes):
    _, writer = pipes()
    closed = writer.fileno()
    writer.close()
    with OutputTail((closed, closed)) as tail:
        assert tail.output == (closed, closed)
        assert tail.text() == ""


def test_script_learns_that_its_output_is_not_taken(pipes):
    reader, writer = pipes()
    with tail_of(writer, writer) as tail:
        ends = given_to_script(tail)
        reader.close()
        with pytest.raises(BrokenPipeError):
            write_all(ends[0], bytes(10_000_000))
        for end in ends:
            end.close()
        tail.finish()


def test_script_goes_on_when_a_disk_is_full():
    with FileIO("/dev/full", "wb") as full, tail_of(full, full) as tail:
        ends = given_to_script(tail)
        write_all(ends[0], bytes(1_000_000))
        ends[0].write(b"words")
        for end in ends:
            end.close()
        tail.finish()
        assert tail.text().endswith("words")


def test_target_that_does_not_block(pipes):
    reader, writer = pipes()
    os.set_blocking(writer.fileno(), False)
    data = random.Random(2).randbytes(1_000_000)
    with tail_of(writer, writer) as tail:
        ends = given_to_script(tail)
        feeding = threading.Thread(target=write_all, args=(ends[0], data))
        feeding.start()
        deadline = time.monotonic() + 20
        while not tail.text():  # what does not fit into the pipe has to wait from now on
            assert time.monotonic() < deadline
        content = Reader(reader)
        feeding.join(20)
        for end in ends:
            end.close()
        tail.finish()
    assert content.all_of(writer) == data


def test_somebody_else_keeps_the_pipe(pipes):
    """All that the script has written is passed on, and the end is not waited for."""
    reader, writer = pipes()
    content = Reader(reader)
    with tail_of(writer, writer) as tail:
        ends = given_to_script(tail)
        ends[0].write(b"words")
        tail.finish(20)
        assert tail.text() == "words"
    assert content.all_of(writer, *ends) == b"words"


def test_output_that_is_not_taken_is_waited_for_so_long(pipes):
    reader, writer = pipes()
    data = random.Random(3).randbytes(100_000)
    with tail_of(writer, writer) as tail:
        ends = given_to_script(tail)
        feeding = threading.Thread(target=write_all, args=(ends[0], data))
        feeding.start()
        feeding.join(20)
        for end in ends:
            end.close()
        tail.finish(0.01)
        content = Reader(reader)
        tail.finish()
    assert content.all_of(writer) == data


def test_job_that_could_not_start_its_script(pipes):
    """Nothing was given to anything, and all is closed."""
    reader, writer = pipes()
    with tail_of(writer, writer):
        pass
    writer.close()
    assert reader.read(1) == b""
