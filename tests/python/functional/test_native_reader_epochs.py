# SPDX-License-Identifier: Apache-2.0
"""ChannelReader: which process reads which epoch, and where its state is."""

import os
import signal
from pathlib import Path

import pytest
from pipe_helpers import Script, feed
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow import testing
from sagemaker_tensorflow.records import ChannelReader

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
