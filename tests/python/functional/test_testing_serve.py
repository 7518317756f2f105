# SPDX-License-Identifier: Apache-2.0
"""sagemaker_tensorflow.testing: what a user's own tests can rely on."""

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pipe_helpers import COMPRESSIONS, FORMATS, Script, stream, wait_until
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow import testing
from sagemaker_tensorflow.records import ChannelReader


def read(host, channel="c", record_format="TFRecord", **options):
    """All records of the next epoch."""
    with ChannelReader(
        channel,
        record_format,
        pipe_dir=host.pipe_dir,
        state_dir=host.state_dir,
        **({"open_timeout": 30, "read_timeout": 30} | options),
    ) as reader:
        return list(reader)


both = pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])


@both
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_channels_and_epochs(record_format, compression, process):
    channels = {
        "training": [[b"a" * i for i in range(50)], [], [b"x" * 500_000]],
        "validation": [[b"v"], [b"w"]],
    }
    options = {"compression_type": compression}
    with testing.serve(channels, record_format, process=process, **options) as host:
        for epochs in itertools.zip_longest(*channels.values()):
            for channel, expected in zip(channels, epochs, strict=True):
                if expected is not None:
                    assert read(host, channel, record_format, **options) == expected
    for channel, epochs in channels.items():
        reports = host.reports[channel]
        assert [report.epoch for report in reports] == list(range(len(epochs)))
        assert [report.records for report in reports] == [len(epoch) for epoch in epochs]
        assert [report.bytes for report in reports] == [
            len(stream(epoch, record_format, compression)) for epoch in epochs
        ]
        for report in reports:
            assert report.channel == channel
            assert report.path == f"{host.pipe_dir}/{channel}_{report.epoch}"
            assert 0 < report.seconds < 30
            assert not report.reader_closed


def test_the_folders_of_a_job():
    channels = {"training": [[b"a"]], "my-data": []}
    with testing.serve(channels, "RecordIO") as host:
        base = Path(host.base_dir)
        assert host.pipe_dir == str(base / "input/data")
        assert host.config_dir == str(base / "input/config")
        assert host.state_dir == str(base / "pipe_state")
        assert Path(host.state_dir).is_dir()
        config = json.loads((base / "input/config/inputdataconfig.json").read_text())
        assert list(config) == list(channels)
        for settings in config.values():
            assert settings["TrainingInputMode"] == "Pipe"
            assert settings["RecordWrapperType"] == "RecordIO"
        wait_until(lambda: Path(host.pipe_dir, "training_0").is_fifo())
        assert host.environment == {
            "SAGEMAKER_BASE_DIR": host.base_dir,
            "SM_INPUT_DIR": str(base / "input"),
            "SM_INPUT_CONFIG_DIR": host.config_dir,
            "SM_CHANNELS": '["my-data", "training"]',
            "SM_CHANNEL_TRAINING": f"{host.pipe_dir}/training",
            "SM_CHANNEL_MY-DATA": f"{host.pipe_dir}/my-data",
        }
    assert not base.exists()


def test_a_script_finds_everything_by_its_environment():
    code = """
        from sagemaker_tensorflow.records import ChannelReader
        print(list(ChannelReader("c", "TFRecord", open_timeout=30)))
    """
    with testing.serve({"c": [[b"a"]]}, "TFRecord") as host:
        code = "\n".join(line.strip() for line in code.splitlines())
        output = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **host.environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
    assert output == "[b'a']\n"


def test_a_given_base_dir_is_left_as_it_was(tmp_path):
    base = tmp_path / "ml"
    for _ in range(2):
        with testing.serve({"c": [[b"a"]]}, "TFRecord", base_dir=base) as host:
            assert host.base_dir == str(base)
            assert read(host) == [b"a"]
        assert list(base.parent.iterdir()) == []

    data = base / "input" / "data"
    data.mkdir(parents=True)
    for name in ("c", "c_x", "c_1.txt", "d_0"):
        (data / name).write_text("mine")
    os.mkfifo(data / "d_1")
    before = sorted(base.rglob("*"))
    with testing.serve({"c": [[b"a"]]}, "TFRecord", base_dir=base) as host:
        assert read(host) == [b"a"]
    assert sorted(base.rglob("*")) == before


def test_a_configuration_of_the_user_is_not_overwritten(tmp_path):
    config = tmp_path / "input" / "config" / "inputdataconfig.json"
    config.parent.mkdir(parents=True)
    config.write_text("mine")
    with (
        pytest.raises(FileExistsError),
        testing.serve({"c": [[b"a"]]}, base_dir=tmp_path),
    ):
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [config]
    assert config.read_text() == "mine"


def test_a_function_of_the_epoch():
    asked = []

    def epoch(number):
        asked.append(number)
        return [str(number).encode()] if number < 3 else None

    with testing.serve({"c": epoch}, "TFRecord") as host:
        assert [read(host) for _ in range(3)] == [[b"0"], [b"1"], [b"2"]]
        wait_until(lambda: len(asked) == 4)
        with pytest.raises(rec.DeadlineExceededError):
            read(host, open_timeout=0.05)


def test_epochs_without_end_made_as_they_are_read():
    def records(number):
        return (b"%d-%d" % (number, i) for i in itertools.count())

    with testing.serve({"c": records, "d": itertools.repeat([b"d"])}, "TFRecord") as host:
        for number in range(3):
            with ChannelReader(
                "c", "TFRecord", pipe_dir=host.pipe_dir, state_dir=host.state_dir, open_timeout=30
            ) as reader:
                got = list(itertools.islice(reader, 1000))
            assert got == [b"%d-%d" % (number, i) for i in range(1000)]
            assert read(host, "d") == [b"d"]
    assert [report.reader_closed for report in host.reports["c"]] == [True] * 3
    assert [report.reader_closed for report in host.reports["d"]] == [False] * 3


def test_the_next_fifo_comes_when_the_reader_is_done():
    with testing.serve({"c": [[b"a"], [b"b"]]}, "TFRecord") as host:
        reader = ChannelReader(
            "c", "TFRecord", pipe_dir=host.pipe_dir, state_dir=host.state_dir, open_timeout=30
        )
        assert next(reader) == b"a"
        wait_until(lambda: host.reports["c"])  # written, and still being read
        assert not Path(host.pipe_dir, "c_1").exists()
        reader.close()
        assert read(host) == [b"b"]


def test_a_stream_is_sent_as_it_is():
    encoded = stream([b"a"], "TFRecord", "GZIP")
    with testing.serve({"c": [encoded + encoded, encoded[:-1]]}, "TFRecord") as host:
        assert read(host, compression_type="GZIP") == [b"a", b"a"]
        with pytest.raises(rec.DataLossError, match="c_1"):
            read(host, compression_type="GZIP")
    assert [(r.records, r.bytes) for r in host.reports["c"]] == [
        (None, 2 * len(encoded)),
        (None, len(encoded) - 1),
    ]


def test_records_made_as_they_are_read():
    done = threading.Semaphore(0)

    def records():
        for i in range(10):
            yield b"%d" % i
            assert done.acquire(timeout=30)  # only after the reader has it

    with testing.serve({"c": [records()]}, "TFRecord") as host:
        with ChannelReader("c", "TFRecord", pipe_dir=host.pipe_dir, state_dir=host.state_dir) as r:
            for i, record in enumerate(r):
                assert record == b"%d" % i
                done.release()
        assert i == 9


# --- Faults ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("fault", ["stop", "stall", "die"])
@pytest.mark.parametrize("record_format", ["RecordIO", "TFRecord"])
def test_a_fault_in_one_epoch(fault, record_format, process):
    if fault == "die" and not process:
        pytest.skip("would kill the test")
    records = [b"one", b"two", b"three"]
    at = len(stream(records[:2], record_format)) + 5
    with testing.serve(
        {"c": [records] * 3},
        record_format,
        fault=fault,
        fault_at_byte=at,
        fault_epoch=1,
        process=process,
    ) as host:
        assert read(host, record_format=record_format) == records
        error = rec.DeadlineExceededError if fault == "stall" else rec.DataLossError
        with pytest.raises(error, match=r"channel 'c' epoch 1 .*record 2"):
            read(host, record_format=record_format, read_timeout=0.2)
        assert read(host, record_format=record_format) == records
    assert [report.bytes for report in host.reports["c"]][1] == at
    assert [report.reader_closed for report in host.reports["c"]] == [
        False,
        fault == "stall",
        False,
    ]


def test_a_fault_in_every_epoch():
    with testing.serve({"c": [[b"a"]] * 2}, "TextLine", fault="stop", fault_at_byte=0) as host:
        assert read(host, record_format="TextLine") == []
        assert read(host, record_format="TextLine") == []


def test_a_throttled_channel():
    with testing.serve(
        {"c": [[bytes(10_000)]]}, "TFRecord", bytes_per_second=100_000, chunk_bytes=1000
    ) as host:
        assert read(host) == [bytes(10_000)]
    assert host.reports["c"][0].seconds >= 0.1


# --- The end --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "options",
    [{}, {"fault": "stall", "fault_at_byte": 100}, {"bytes_per_second": 1, "chunk_bytes": 10}],
    ids=["writing", "stalled", "throttled"],
)
def test_it_ends_at_once_whatever_goes_on(options, process):
    long = [bytes(1000)] * 100_000
    with testing.serve({"a": [long], "b": [long]}, "TFRecord", process=process, **options) as host:
        reader = ChannelReader(
            "a", "TFRecord", pipe_dir=host.pipe_dir, state_dir=host.state_dir, read_timeout=30
        )
        if not options:
            next(reader)
        wait_until(lambda: Path(host.pipe_dir, "b_0").exists())
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    assert not Path(host.base_dir).exists()
    if not options:
        with contextlib.suppress(rec.DataLossError):  # unless it was cut between two records
            assert len(list(reader)) < len(long)


def test_nothing_is_left_running():
    before = threading.active_count()
    for _ in range(20):
        with testing.serve({"c": [[b"a"]], "d": [[b"b"]]}, "TFRecord") as host:
            assert read(host) == [b"a"]
    assert threading.active_count() == before


def failing_records():
    yield b"a"
    raise OSError("the user's own")


def failing_epochs():
    yield [b"a"]
    raise OSError("the user's own")


@pytest.mark.parametrize(
    ("epochs", "error"),
    [
        (lambda: [failing_records()], "the user's own"),
        (failing_epochs, "the user's own"),
        (lambda: [[b"a", b"two\nlines"]], "newline"),
        (lambda: [["text"]], "bytes-like"),
        (lambda: ["text"], "bytes-like"),
    ],
)
def test_what_goes_wrong_in_a_writer_is_raised(epochs, error, caplog):
    caplog.set_level(logging.ERROR)

    def use():
        with testing.serve({"c": epochs()}, "TextLine") as host:
            read(host, record_format="TextLine")
            wait_until(lambda: "channel 'c' is served no more" in caplog.text)

    with pytest.raises((OSError, ValueError, TypeError), match=error):
        use()


def test_the_error_of_a_writer_comes_with_that_of_the_block(caplog):
    def use():
        with testing.serve({"c": failing_epochs()}, "TFRecord") as host:
            read(host)
            read(host, open_timeout=0.2)

    with pytest.raises(OSError, match="the user's own") as caught:
        use()
    assert isinstance(caught.value.__context__, rec.DeadlineExceededError)


def test_ctrl_c_goes_before_the_error_of_a_writer(caplog):
    def use():
        with testing.serve({"c": failing_epochs()}, "TFRecord") as host:
            read(host)
            wait_until(lambda: "served no more" in caplog.text)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()


def test_an_error_of_the_block_goes_through():
    with (
        pytest.raises(ZeroDivisionError),
        testing.serve({"c": [[b"a"]]}, "TFRecord"),
    ):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"record_format": "CSV"}, "CSV"),
        ({"compression_type": "BZIP2"}, "BZIP2"),
        ({"chunk_bytes": 0}, "chunk_bytes"),
        ({"fault": "explode"}, "explode"),
        ({"fault": "die"}, "process=True"),
        ({"channels": {"a/b": []}}, "channel name"),
        ({"channels": {"c": b"one epoch"}}, "list of epochs"),
    ],
)
def test_wrong_arguments_are_errors_at_once(arguments, message, tmp_path):
    with (
        pytest.raises((ValueError, TypeError), match=message),
        testing.serve(**({"channels": {"c": []}, "base_dir": tmp_path / "ml"} | arguments)),
    ):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


@both
def test_a_child_that_is_killed_leaves_no_writer_behind(process, tmp_path):
    code = """
        import sys, time
        from sagemaker_tensorflow import testing

        with testing.serve({"c": [[b"a"]]}, "TFRecord", base_dir=sys.argv[1],
                           process=sys.argv[2] == "True"):
            print("serving", flush=True)
            time.sleep(600)
    """
    with Script(code, tmp_path, process) as script:
        assert script.process.stdout.readline() == "serving\n"
        fifo = tmp_path / "input" / "data" / "c_0"
        wait_until(fifo.exists)
        script.send(signal.SIGKILL)
        script.finish()

        def is_served():
            """Whether somebody opens the FIFO for writing when a reader comes."""
            fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            try:
                time.sleep(0.05)
                return os.read(fd, 1) != b""
            except BlockingIOError:
                return True
            finally:
                os.close(fd)

        wait_until(lambda: not is_served())


def test_tensorflow_is_not_imported():
    code = "import sys; from sagemaker_tensorflow import testing, records; " + (
        "print(sorted({'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert output == "[]\n"
