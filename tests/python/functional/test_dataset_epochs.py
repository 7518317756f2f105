# SPDX-License-Identifier: Apache-2.0
"""Which epoch an iterator reads: claimed late, counted in the state file, never read twice."""

import os
import random
import signal
import time

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records, without_autotune
from pipe_helpers import feed, stream, wait_until

READ_EPOCHS = """
    import sys
    from sagemaker_tensorflow import PipeModeDataset

    ds = PipeModeDataset("training", "TFRecord", open_timeout=30, read_timeout=30)
    for _ in range(int(sys.argv[1])):
        for record in ds.as_numpy_iterator():
            print(record.decode(), flush=True)
"""


def names(count, first=0):
    return [b"epoch %d" % epoch for epoch in range(first, first + count)]


def test_nothing_is_touched_before_the_first_record(job):
    feeding = feed(job.make_fifo(), stream([b"a", b"b"], "TFRecord"))
    ds = make().map(tf.identity)
    iterators = [iter(ds) for _ in range(3)]
    assert list(job.state_dir.iterdir()) == []
    assert feeding.is_alive()  # nobody has opened the FIFO
    assert next(iterators[1]).numpy() == b"a"
    assert job.state() == "1"
    del iterators[0], iterators[-1]
    assert [record.numpy() for record in iterators[0]] == [b"b"]
    assert job.state() == "1"


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 20])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_epoch_is_claimed_before_its_first_record_is_asked_for(job, size, read_ahead_bytes):
    """Nor when the records before it are read ahead, alone or in a batch."""
    for epoch in range(3):
        feed(job.make_fifo(epoch), stream([b"%d:%d" % (epoch, n) for n in range(4)], "TFRecord"))
    ds = make(read_ahead_bytes=read_ahead_bytes).repeat()
    if size > 1:
        ds = ds.batch(size)
    iterator = iter(without_autotune(ds))
    for element in range(12 // size):
        next(iterator)
        assert int(job.state()) == -(-(element + 1) * size // 4)


def test_an_epoch_without_a_writer_is_not_claimed(job):
    job.make_fifo()
    assert isinstance(read(make(open_timeout=0.1))[1], tf.errors.DeadlineExceededError)
    assert job.state() is None
    feed(job.pipe(), stream([b"a"], "TFRecord"))
    assert records(make()) == [b"a"]
    assert job.state() == "1"


def test_the_state_file(serve):
    with serve({"train_0.a-b": [[b"a"], [b"b"], [b"c"]]}) as job:
        ds = make("train_0.a-b")
        for epoch in range(3):
            records(ds)
            assert (job.state_dir / ".train_0.a-b-pipe_mode-state").read_bytes() == b"%d" % (
                epoch + 1
            )
        assert sorted(path.name for path in job.state_dir.iterdir()) == [
            ".train_0.a-b-pipe_mode-lock",
            ".train_0.a-b-pipe_mode-state",
        ]


def test_a_state_of_the_predecessor_goes_on(job):
    """Its file may end in a newline, and it keeps no other files."""
    job.state_dir.mkdir()
    job.state_file().write_text("7\n")
    feed(job.make_fifo(7), stream([b"a"], "TFRecord"))
    assert records(make()) == [b"a"]
    assert job.state() == "8"


def test_channels_count_for_themselves(serve):
    with serve({"training": [[b"a"], [b"b"]], "validation": [[b"c"]]}) as job:
        assert records(make("training").repeat(2)) == [b"a", b"b"]
        assert records(make("validation")) == [b"c"]
        assert (job.state("training"), job.state("validation")) == ("2", "1")


def test_a_second_dataset_goes_on(serve):
    with serve({"training": [[name] for name in names(3)]}):
        assert [records(make()) for _ in range(3)] == [[name] for name in names(3)]


def test_a_restarted_process_goes_on(serve, fork_server):
    with serve({"training": [[name] for name in names(4)]}) as job:
        for first in (0, 2):
            with fork_server.run(READ_EPOCHS, 2) as program:
                assert program.wait() == 0, program.stderr
                assert program.stdout.encode().splitlines() == names(2, first)
        assert job.state() == "4"


def test_an_iterator_that_stops_early_closes_the_fifo(serve):
    endless = iter(lambda: bytes(10_000), None)
    with serve({"training": [endless, [b"next"]]}) as job:
        assert records(make().take(5)) == [bytes(10_000)] * 5
        assert records(make()) == [b"next"]  # comes only after the writer saw EPIPE
        assert job.state() == "2"
    assert [report.reader_closed for report in job.host.reports["training"]] == [True, False]


def test_two_processes_read_distinct_epochs(job, fork_server):
    """All FIFOs are there at once, so that both really read at the same time."""
    for epoch, name in enumerate(names(10)):
        feed(job.make_fifo(epoch), stream([name], "TFRecord"))
    with fork_server.run(READ_EPOCHS, 5) as one, fork_server.run(READ_EPOCHS, 5) as other:
        assert (one.wait(), other.wait()) == (0, 0), one.stderr + other.stderr
        both = (one.stdout + other.stdout).encode().splitlines()
    assert sorted(both) == names(10)
    assert job.state() == "10"


def test_two_processes_take_turns(serve, fork_server):
    """The service's way: the next FIFO comes when the last one is closed."""
    with (
        serve({"training": [[name] for name in names(10)]}) as job,
        fork_server.run(READ_EPOCHS, 5) as one,
        fork_server.run(READ_EPOCHS, 5) as other,
    ):
        assert (one.wait(), other.wait()) == (0, 0), one.stderr + other.stderr
        both = (one.stdout + other.stdout).encode().splitlines()
        assert sorted(both) == names(10)
        assert job.state() == "10"


def test_one_epoch_is_never_read_twice(serve, fork_server, tmp_path):
    """With a state folder of its own, a process must be stopped by other means."""
    with serve({"training": [iter(lambda: b"endless", None)]}):
        iterator = iter(make())
        assert next(iterator).numpy() == b"endless"
        with fork_server.run(
            """
            import json, sys
            import tensorflow as tf
            from sagemaker_tensorflow import PipeModeDataset

            try:
                next(iter(PipeModeDataset("training", "TFRecord", state_dir=sys.argv[1])))
            except tf.errors.FailedPreconditionError as error:
                print(json.dumps(error.message))
            """,
            tmp_path,
        ) as program:
            message = program.result()
        assert "training_0' is being read already" in message
        assert f"by process {os.getpid()};" in message
        assert next(iterator).numpy() == b"endless"


@pytest.mark.parametrize(
    "content",
    ["", "\n", "one", "-1", "1.5", "0x10", "99999999999999999999", "2147483648", "1\x00", "1 2"],
)
def test_a_state_that_is_no_epoch_number(job, content):
    feed(job.make_fifo(), stream([b"a"], "TFRecord"))
    job.state_dir.mkdir()
    job.state_file().write_text(content)
    elements, error = read(make())
    assert elements == []
    assert isinstance(error, tf.errors.FailedPreconditionError)
    assert f"the state file '{job.state_file()}' holds '" in error.message
    assert "remove the file to begin with epoch 0" in error.message
    assert job.state() == content
    job.state_file().unlink()
    assert records(make()) == [b"a"]


def test_the_last_epoch_number(job):
    job.state_dir.mkdir()
    job.state_file().write_text(str(2**31 - 1))
    feed(job.make_fifo(2**31 - 1), stream([b"a"], "TFRecord"))
    elements, error = read(make())
    assert elements == []
    assert isinstance(error, tf.errors.FailedPreconditionError)
    assert job.state() == str(2**31 - 1)


def test_a_state_folder_that_vanishes_is_made_again(job):
    ds = make()
    job.state_dir.rmdir()
    feed(job.make_fifo(), stream([b"a"], "TFRecord"))
    assert records(ds) == [b"a"]
    assert job.state() == "1"


def test_killed_while_it_waits_for_a_writer(job, fork_server):
    job.make_fifo()
    with fork_server.run(READ_EPOCHS, 1) as program:
        program.wait_until_blocked()
        program.send(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
    assert job.state() is None
    feed(job.pipe(), stream([b"a"], "TFRecord"))
    assert records(make()) == [b"a"]


def test_killed_while_it_reads(serve, fork_server):
    with serve({"training": [iter(lambda: b"endless", None), [b"next"]]}) as job:
        with fork_server.run(READ_EPOCHS, 1) as program:
            program.wait_for_output("endless")
            program.send(signal.SIGKILL)
            assert program.wait() == -signal.SIGKILL
        assert job.state() == "1"
        assert records(make()) == [b"next"]


def test_killed_at_any_moment(job, fork_server):
    """Regular files, for they come back as often as they are asked for: a reader at full speed."""
    count = 800
    for epoch in range(count):
        job.pipe(epoch).write_bytes(stream([b"%d" % epoch], "TFRecord"))
    state = 0
    for _ in range(8):
        with fork_server.run(READ_EPOCHS, count) as program:
            wait_until(
                lambda program=program, before=str(state): (
                    (job.state() or "0") != before or program.has_ended()
                )
            )
            time.sleep(random.uniform(0, 0.03))
            assert not program.has_ended(), program.stderr
            program.send(signal.SIGKILL)
            assert program.wait() == -signal.SIGKILL
            seen = [int(line) for line in program.stdout.splitlines()]
        # It went on where the last one stopped, and left out nothing.
        assert seen == list(range(state, state + len(seen)))
        # An epoch counts as read before its first record comes out.
        assert int(job.state()) in (state + len(seen), state + len(seen) + 1)
        state = int(job.state())
    assert records(make()) == [b"%d" % state]
