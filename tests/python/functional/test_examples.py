# SPDX-License-Identifier: Apache-2.0
"""What the documentation shows works: ``make demo``, and the Python code of README and docs.

Every block that begins with ```` ```python ```` is run: those of one document in order, in one
namespace, with the channels of ``CHANNELS`` and ``FILES`` to read from. Functions called ``test_*``
are called, and a dataset that a block calls ``ds`` is read from. A block after a line
``<!-- not run -->`` is not run.
"""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from sagemaker_tensorflow import records

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("scikit_learn")]

ROOT = Path(__file__).parents[3]
DEMO = [sys.executable, str(ROOT / "examples" / "demo.py")]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

BLOCK = re.compile(r"^(<!-- not run -->\n+)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def make_example(label):
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes([label] * 64)])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


EXAMPLES = [records.encode(make_example(n % 10), "TFRecord") for n in range(200)]
ATTRIBUTES = [records.encode(b"image %d" % n) + records.encode(b"%d" % n) for n in range(10)]

# One epoch each; there are as many as are read.
CHANNELS = {
    "training": b"".join(EXAMPLES),
    "validation": b"".join(EXAMPLES[:50]),
    "manifest": b"".join(ATTRIBUTES),
}


# In File mode, each with something that is not data.
FILES = {
    "images/2023-0.tfrecord": b"".join(EXAMPLES[:20]),
    "images/2024-0.tfrecord": b"".join(EXAMPLES[20:]),
    "images/index.json": b"{}",
    "rows/a.csv": b"1,2\n",
    "rows/b.csv.gz": gzip.compress(b"3,4\n"),
    "rows/notes.txt": b"words",
}


def add_files(job):
    """Adds the channels of ``FILES`` to those of a job."""
    path = job.config_dir / "inputdataconfig.json"
    config = json.loads(path.read_text())
    for name, content in FILES.items():
        config[name.partition("/")[0]] = {"TrainingInputMode": "File"}
        (job.pipe_dir / name).parent.mkdir(exist_ok=True)
        (job.pipe_dir / name).write_bytes(content)
    path.write_text(json.dumps(config))


def code_blocks(document):
    """The source of each block that is to be run, on the lines where it is in the document."""
    text = document.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        if match[1] is None:
            yield "\n" * text.count("\n", 0, match.start(2)) + match[2]


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, id=path.name) for path in DOCUMENTS if list(code_blocks(path))],
)
def test_documentation(document, serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "documentation"}
    channels = {channel: lambda _, stream=stream: stream for channel, stream in CHANNELS.items()}
    with serve(channels) as job:
        add_files(job)
        for block in code_blocks(document):
            exec(compile(block, str(document), "exec"), namespace)
            if "ds" in namespace:
                assert len(list(namespace.pop("ds").take(2))) == 2
        for name in [name for name in namespace if name.startswith("test_")]:
            namespace[name]()


def test_blocks_are_found(tmp_path):
    path = tmp_path / "document.md"
    path.write_text(
        "```console\n$ x\n```\n```python\na = 1\n```\n<!-- not run -->\n```python\nb\n```\n\n"
        "```python\nc = 2\n\nd = 3\n```\n"
    )
    assert [block.lstrip("\n") for block in code_blocks(path)] == ["a = 1\n", "c = 2\n\nd = 3\n"]
    assert len(list(code_blocks(ROOT / "docs" / "guide.md"))) > 4


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "TMPDIR": str(tmp_path)}


def test_demo(environment, tmp_path):
    result = subprocess.run(
        DEMO, capture_output=True, text=True, timeout=110, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for channel in "training", "validation":
        assert re.search(rf"^ *{channel} +8 +\d", result.stderr, re.MULTILINE), result.stderr
    accuracy = re.search(r"validation accuracy: ([\d.]+)%", result.stdout)
    assert float(accuracy[1]) > 90
    assert "Traceback" not in result.stdout + result.stderr
    assert list(tmp_path.iterdir()) == []


def test_demo_says_what_failed(environment, tmp_path):
    script = tmp_path / "demo.py"
    script.write_text((ROOT / "examples" / "demo.py").read_text())
    (tmp_path / "train_digits.py").write_text("import sys; sys.exit('no training today')")
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert result.returncode == 1
    assert "no training today" in result.stderr
    assert "The demo failed: pipemode run ended with exit code 1" in result.stderr


def test_interrupted_demo_cleans_up(environment, tmp_path):
    # A process group of its own, as a terminal makes one.
    demo = subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        for line in demo.stdout:
            if "Epoch 2" in line:
                break
        os.killpg(demo.pid, signal.SIGINT)
        interrupted = time.monotonic()
        _, errors = demo.communicate(timeout=30)
    finally:
        demo.kill()
    assert time.monotonic() - interrupted < 15
    assert demo.returncode == 130
    assert errors.endswith("\nInterrupted.\n")
    # The script shows where it was; nothing else was surprised.
    assert "/demo.py" not in errors
    assert "/sagemaker_tensorflow/cli/" not in errors
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
