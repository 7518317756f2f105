# SPDX-License-Identifier: Apache-2.0
"""Readers and writers that are killed, again and again, at any moment: what others see of it."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from pipe_helpers import Background, Script, stream
from sagemaker_tensorflow.records import ChannelReader, ChannelWriter, DataLossError
from sagemaker_tensorflow.testing import serve

pytestmark = pytest.mark.long

RECORDS = [b"%04d" % number for number in range(300)]

# Reads the channel in one process after the other, each killed after a random time but the last.
# A record is noted by one write(2), so what is noted has been read, and all but the last record
# that has been read is noted.
READERS = """
import json, os, random, signal, sys, time
from sagemaker_tensorflow.records import ChannelReader

path, compression_type, epochs, kills, longest, seed = sys.argv[1:]
epochs, kills, rng = int(epochs), int(kills), random.Random(int(seed))

def next_epoch():
    try:
        with open(f"{path}/../pipe_state/.training-pipe_mode-state") as state:
            return int(state.read())
    except FileNotFoundError:
        return 0

def read(log, is_last):
    while True:
        # The last epochs are for the last one, however far the others get on a slow machine.
        if not is_last and next_epoch() > epochs - 5:
            time.sleep(600)
        with ChannelReader(
            "training", "TFRecord", compression_type=compression_type or None,
            open_timeout=30, read_timeout=30,
        ) as reader:
            for record in reader:
                os.write(log, b"%d %s\\n" % (reader.epoch, record))
            os.write(log, b"%d end\\n" % reader.epoch)
            if reader.epoch == epochs - 1:
                os._exit(0)

logs = []
for life in range(kills + 1):
    logs.append(f"{path}/{life}")
    log = os.open(logs[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pid = os.fork()
    if pid == 0:
        try:
            read(log, life == kills)
        except BaseException as error:
            os.write(log, b"%r\\n" % str(error))
        os._exit(1)
    os.close(log)
    if life < kills:
        time.sleep(rng.random() * float(longest))
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if status != signal.SIGKILL:
        break
print(json.dumps({"status": status, "logs": logs}))
"""


def kill_readers(tmp_path, monkeypatch, compression_type, epochs, kills):
    """Kills so many readers of a channel; checks what they saw together.

    Returns how many epochs were cut short by a kill, and how many nobody saw.
    """
    epoch = stream(RECORDS, "TFRecord", compression_type)
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    longest = 0.03
    with serve(
        {"training": [epoch] * epochs}, chunk_bytes=700, bytes_per_second=3e6, base_dir=tmp_path
    ) as host:
        for name, value in host.environment.items():
            monkeypatch.setenv(name, value)
        with Script(
            READERS, log_dir, compression_type or "", epochs, kills, longest, kills
        ) as supervisor:
            code, output, errors = supervisor.finish(timeout=60 + 2 * kills)
        assert code == 0, errors
        state = tmp_path / "pipe_state" / ".training-pipe_mode-state"
        assert state.read_text() == str(epochs)
    result = json.loads(output)
    assert result["status"] == 0, (log_dir / result["logs"][-1]).read_text()

    whole = [record.decode() for record in RECORDS] + ["end"]
    seen = {}
    reached = -1  # by the readers before
    lost = deaths = 0
    for log in result["logs"]:
        epochs_read = {}
        with Path(log).open() as lines:
            for line in lines:
                number, record = line.split()
                epochs_read.setdefault(int(number), []).append(record)
        for place, (number, records) in enumerate(epochs_read.items()):
            assert number not in seen, f"epoch {number} was read twice"
            assert records == whole[: len(records)]
            if place < len(epochs_read) - 1:
                assert records == whole, f"epoch {number} ended early, without a kill"
            # Each kill may take one epoch that was just to begin.
            unseen = number - reached - 1
            assert unseen <= deaths, f"epoch {reached + 1} was skipped"
            lost += unseen
            deaths = 0
            reached = number
            seen[number] = len(records) == len(whole)
        deaths += 1
    assert reached == epochs - 1
    assert seen[reached], "the last reader was not killed"
    assert host.reports["training"][-1].epoch == epochs - 1
    return sum(not complete for complete in seen.values()), lost


@pytest.mark.parametrize("compression_type", [None, "GZIP"])
def test_killed_readers_share_the_epochs(tmp_path, monkeypatch, compression_type):
    kill_readers(tmp_path, monkeypatch, compression_type, epochs=60, kills=20)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("compression_type", [None, "GZIP"])
def test_hundreds_of_killed_readers(tmp_path, monkeypatch, compression_type, capsys):
    kills = 500
    cut, lost = kill_readers(tmp_path, monkeypatch, compression_type, epochs=1200, kills=kills)
    with capsys.disabled():
        print(f"\n{kills} readers killed: {cut} epochs cut short, {lost} lost before a record")


def write_until_killed(pipe_dir, epoch, data, delay):
    """Writes an epoch from a process of its own that is killed so long after its first byte.

    Not at all if ``delay`` is None.
    """
    ready, begun = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            writer = ChannelWriter(
                pipe_dir, "training", first_epoch=epoch, chunk_bytes=97, bytes_per_second=3e5
            )
            writer.begin_epoch()
            os.write(begun, b"x")
            writer.write(data)
            writer.end_epoch()
        finally:
            os._exit(0)
    os.close(begun)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def read_epoch(job, compression_type):
    """Returns the records of an epoch, and whether it came to a clean end."""
    records = []
    with ChannelReader(
        "training",
        "TFRecord",
        compression_type=compression_type,
        pipe_dir=job.pipe_dir,
        state_dir=job.state_dir,
        open_timeout=30,
        read_timeout=30,
    ) as reader:
        try:
            records.extend(reader)
        except DataLossError:
            return records, False
    return records, True


@pytest.mark.parametrize("compression_type", [None, "GZIP"])
@pytest.mark.parametrize(
    "kills", [20, pytest.param(500, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_what_a_killed_writer_sent_is_read_and_no_more(make_job, kills, compression_type):
    job = make_job()
    data = stream(RECORDS, "TFRecord", compression_type)
    rng = random.Random(kills)
    outcomes = set()
    for epoch in range(kills):
        reader = Background(read_epoch, job, compression_type)
        # The last one comes to its end, however busy the machine is.
        delay = rng.random() * 1.1 * len(data) / 3e5 if epoch < kills - 1 else None
        write_until_killed(job.pipe_dir, epoch, data, delay)
        records, is_clean = reader.result()
        assert records == RECORDS[: len(records)]
        if compression_type is not None and is_clean:
            # Of a compressed stream the end can be told, but that of one without a byte.
            assert len(records) in (0, len(RECORDS))
        outcomes.add((is_clean, len(records) == len(RECORDS)))
        assert job.state() == str(epoch + 1)
    assert {(False, False), (True, True)} <= outcomes
