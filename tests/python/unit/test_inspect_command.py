# SPDX-License-Identifier: Apache-2.0
"""``pipemode inspect``: what it finds, what it says of damage, how it treats a FIFO."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sagemaker_tensorflow._native import encode_examples
from sagemaker_tensorflow.cli import app
from sagemaker_tensorflow.records import encode
from typer.testing import CliRunner

COMMAND = [sys.executable, "-m", "sagemaker_tensorflow", "inspect"]


def inspect(*arguments, status=0):
    result = CliRunner().invoke(app, ["inspect", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def inspect_json(*arguments, status=0):
    return json.loads(inspect(*arguments, "--json", status=status).stdout)


def stream(records, record_format):
    return b"".join(encode(record, record_format) for record in records)


def example(label):
    one = np.array([0, 1])
    image = np.full(10, label, np.uint8)
    data, _ = encode_examples(
        [
            ("image", image, np.array([0, 10]), one),
            ("label", np.array([label]), None, one),
        ]
    )
    return data.tobytes()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=30),
    st.sampled_from(["TFRecord", "RecordIO", "TextLine"]),
    st.sampled_from([None, "GZIP"]),
)
def test_records_are_counted(tmp_path, records, record_format, compression):
    if record_format == "TextLine":
        records = [b"a" + record.hex().encode() for record in records]
    data = stream(records, record_format)
    path = tmp_path / "data"
    path.write_bytes(gzip.compress(data, mtime=0) if compression else data)
    (group,) = inspect_json(path)["groups"]
    sizes = list(map(len, records))
    assert (group["record_format"], group["compression"]) == (record_format, compression)
    assert group["records"] == len(records)
    found = group["record_bytes"]
    assert (found["total"], found["min"], found["max"]) == (sum(sizes), min(sizes), max(sizes))
    assert sum(one["records"] for one in found["histogram"]) == len(records)
    (one,) = group["objects"]
    assert (one["bytes"], one["complete"]) == (path.stat().st_size, True)


def test_a_folder_of_examples(tmp_path):
    for name in ("b", "a", "sub/c"):
        path = tmp_path / f"{name}.tfrecord.gz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(stream(map(example, range(5)), "TFRecord")))
    (tmp_path / "_SUCCESS").touch()
    output = inspect(tmp_path)
    assert "3 objects: TFRecord in GZIP of tf.train.Example" in output.stdout
    assert '    "image": tf.io.FixedLenFeature([], tf.string),' in output.stdout
    assert '    "label": tf.io.FixedLenFeature([], tf.int64),' in output.stdout
    assert (
        'PipeModeDataset(channel="training", record_format="TFRecord", compression_type="GZIP")'
        in output.stdout
    )
    assert "_SUCCESS' without any record" in output.stderr
    found = inspect_json(tmp_path)
    (group,) = found["groups"]
    assert group["payload"] == "tf.train.Example"
    assert [Path(one["name"]).name[0] for one in group["objects"]] == ["a", "b", "c"]
    assert [feature["name"] for feature in group["features"]] == ["image", "label"]
    # The same by a glob, and by several arguments.
    by_glob = inspect_json(str(tmp_path / "**" / "*.gz"))["groups"][0]
    assert by_glob == group
    assert inspect_json(*sorted(tmp_path.rglob("*.gz")))["groups"][0] == group


def test_a_name_that_is_not_utf8(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.tfrecord"
    Path(os.fsdecode(path)).write_bytes(stream([b"one"], "TFRecord") + b"cut")
    (problem,) = inspect_json(tmp_path, status=1)["problems"]
    assert problem["object"] == f"{tmp_path}/\\xff.tfrecord"
    assert r"\xff.tfrecord" in inspect(tmp_path, status=1).stdout


def test_other_payloads_are_shown_escaped_and_short(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(stream([b"\x1b[2J" + bytes(500), b"plain"], "RecordIO"))
    stdout = inspect(path).stdout
    assert r"record 0: \x1b[2J\x00" in stdout
    assert "\x1b" not in stdout
    assert max(map(len, stdout.splitlines())) < 200
    assert "record 1: plain" in stdout


@pytest.mark.parametrize("record_format", ["TFRecord", "RecordIO"])
@pytest.mark.parametrize("compress", [False, True])
def test_a_truncated_file(tmp_path, record_format, compress):
    data = stream([b"record %d" % n for n in range(100)], record_format)
    path = tmp_path / "data"
    path.write_bytes(gzip.compress(data, mtime=0)[:-30] if compress else data[:-3])
    found = inspect_json(path, status=1)
    (problem,) = found["problems"]
    (group,) = found["groups"]
    assert problem["object"] == str(path)
    assert problem["record"] == group["records"] < 100
    assert problem["byte"] == len(
        stream([b"record %d" % n for n in range(problem["record"])], record_format)
    )
    assert f"record {problem['record']} at byte {problem['byte']}" in problem["message"]
    assert not group["objects"][0]["complete"]
    assert not found["complete"]
    output = inspect(path, status=1)
    assert f"error: '{path}': record" in output.stderr


def test_corrupt_records_are_counted_and_the_rest_is_read(tmp_path):
    records = [bytearray(encode(b"record %04d" % n, "TFRecord")) for n in range(1000)]
    for number in range(100, 110):
        records[number][12] ^= 1
    path = tmp_path / "data"
    path.write_bytes(b"".join(records))
    found = inspect_json(path, status=1)
    assert [problem["record"] for problem in found["problems"]] == [*range(100, 105), None]
    assert "5 more records are corrupt" in found["problems"][-1]["message"]
    (group,) = found["groups"]
    assert group["records"] == 990
    assert group["objects"][0]["corrupt_records"] == 10


def test_corrupt_records_before_the_end_of_all(tmp_path):
    path = tmp_path / "data"
    record = bytearray(encode(b"record", "TFRecord"))
    record[12] ^= 1
    path.write_bytes(bytes(record) * 8 + b"rest")
    messages = [problem["message"] for problem in inspect_json(path, status=1)["problems"]]
    assert len(messages) == 7
    assert "3 more records are corrupt" in messages[-1]
    assert "record 8 at byte 176" in messages[-2]


def test_damage_at_the_very_beginning(tmp_path):
    path = tmp_path / "data"
    data = bytearray(stream([b"one", b"two"], "TFRecord"))
    data[8] ^= 1
    path.write_bytes(data)
    (problem,) = inspect_json(path, status=1)["problems"]
    assert (problem["record"], problem["byte"]) == (0, 0)
    path.write_bytes(gzip.compress(b"", mtime=0)[:-4])
    (problem,) = inspect_json(path, status=1)["problems"]
    assert "gzip" in problem["message"]
    path.write_bytes(gzip.compress(b"", mtime=0))
    assert inspect_json(path)["empty"] == [str(path)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", ["a JPEG image", "pipemode convert"]),
        (b"\x93NUMPY\x01\x00", ["a NumPy array", "pipemode convert"]),
        (gzip.compress(b"\x00\x01\x02", mtime=0), ["inside its GZIP", r"'\x00\x01\x02'"]),
        (b"\x00\x01\x02", ["unknown", "--record-format"]),
    ],
)
def test_what_holds_no_records(tmp_path, data, words):
    path = tmp_path / "data"
    path.write_bytes(data)
    (problem,) = inspect_json(path, status=1)["problems"]
    for word in [str(path), *words]:
        assert word in problem["message"]


def test_what_one_channel_cannot_carry(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(stream([b"a"], "TFRecord"))
    (tmp_path / "b.txt").write_bytes(b"no newline")
    (tmp_path / "c.txt").write_bytes(b"line\n")
    found = inspect_json(tmp_path)
    assert len(found["groups"]) == 2
    ends, kinds = found["warnings"]
    assert "b.txt' does not end with a newline" in ends
    assert "TFRecord, TextLine" in kinds
    assert inspect(tmp_path).stderr.count("warning:") == 2


def test_only_the_first_records(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(stream([b"one", b"two", b"three"], "RecordIO") + b"damaged")
    found = inspect_json(path, "--max-records", 3)
    assert not found["complete"]
    assert found["groups"][0]["records"] == 3
    assert found["problems"] == []
    assert "3, the first ones only" in inspect(path, "--max-records", 3).stdout


def test_what_the_user_says_is_believed(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(stream([b"one"], "TFRecord"))
    found = inspect_json(path, "--record-format", "textline")
    assert found["groups"][0]["record_format"] == "TextLine"
    (problem,) = inspect_json(path, "--compression", "gzip", status=1)["problems"]
    assert "gzip" in problem["message"].lower()


def test_what_mxnet_wrote(tmp_path):
    record = b"abcd\x0a\x23\xd7\xceefgh"  # the magic number, which dmlc's writer drops
    path = tmp_path / "x.rec"
    path.write_bytes(encode(record, recordio_parts="dmlc"))
    (group,) = inspect_json(path, "--recordio-parts", "dmlc")["groups"]
    assert group["record_bytes"]["total"] == len(record)
    assert 'recordio_parts="dmlc"' in group["code"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("nothing", "nothing' does not exist"), ("*.none", "there are no files in '")],
)
def test_nothing_there(path, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in inspect(path, status=2).stderr
    (tmp_path / "empty").mkdir()
    assert "there are no files in '" in inspect("empty", status=2).stderr


def test_an_object_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    (tmp_path / "a").write_bytes(b"\x00")
    (tmp_path / "b").write_bytes(stream([b"one"], "TFRecord"))
    found = inspect_json(tmp_path, status=1)
    assert [problem["object"] for problem in found["problems"]] == [str(tmp_path / "a")]
    assert found["groups"][0]["records"] == 1


# --- FIFOs ----------------------------------------------------------------------------------------


def test_a_fifo_is_not_read_by_accident(tmp_path):
    path = tmp_path / "training_0"
    os.mkfifo(path)
    stderr = inspect(path, status=2).stderr
    assert f"'{path}' is a FIFO" in stderr
    assert "--consume" in stderr


@pytest.mark.parametrize("records", [0, 3, 200_000])
@pytest.mark.parametrize("compress", [False, True])
def test_a_fifo(tmp_path, records, compress):
    path = tmp_path / "training_0"
    os.mkfifo(path)
    data = stream([b"record"], "TFRecord") * records
    if compress:
        data = gzip.compress(data, 1, mtime=0)
    writer = threading.Thread(target=path.write_bytes, args=[data], daemon=True)
    writer.start()
    found = inspect_json(path, "--consume")
    writer.join(30)
    assert not writer.is_alive()
    assert found["problems"] == []
    assert sum(group["records"] for group in found["groups"]) == records
    if records:
        assert found["groups"][0]["objects"][0]["bytes"] == len(data)


def test_the_writer_sees_that_nobody_reads_on(tmp_path):
    path = tmp_path / "training_0"
    os.mkfifo(path)
    broken = threading.Event()

    def write():
        data = stream([b"record"], "TFRecord") * 100_000
        try:
            with path.open("wb") as fifo:
                for _ in range(1000):
                    fifo.write(data)
        except BrokenPipeError:
            broken.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert not inspect_json(path, "--consume", "--max-records", 10)["complete"]
    assert broken.wait(30)
    writer.join(30)


def test_ctrl_c_while_waiting_for_a_writer(tmp_path):
    path = tmp_path / "training_0"
    os.mkfifo(path)
    with subprocess.Popen(
        [*COMMAND, str(path), "--consume"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert "once it has a writer" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_no_tensorflow_is_loaded(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(stream([example(1)], "TFRecord"))
    code = (
        "import sys; from sagemaker_tensorflow.cli import app\n"
        f"try: app(['inspect', {str(path)!r}])\n"
        "finally: assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True)
