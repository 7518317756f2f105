# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: channels that are read in part, late or never, or change, in every mode."""

import json

import pytest
from run_helpers import RECORDS, make_folder, model_of

pytestmark = pytest.mark.long


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_never_opens(run_job, epochs):
    ended = run_job(f"print([read() for _ in range({epochs})])", channels=("training", "other"))
    assert ended.status == 0, ended.stderr
    assert "'other' was never opened" in ended.stderr


def test_opens_late_and_reads_half(run_job):
    ended = run_job(
        """
        time.sleep(0.5)
        print(read(limit=300), read(limit=1), read())
        """
    )
    assert ended.status == 0, ended.stderr
    assert ended.stdout == f"300 1 {RECORDS}\n"
    assert "3 (2 closed early)" in ended.stderr


def test_broken_source_fails_the_job(run_job, work_dir, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(20):
        (source / f"{number:02}").write_bytes(bytes(1 << 20))
    text = """
    fifo = open(os.environ["SM_CHANNEL_BROKEN"] + "_0", "rb", buffering=0)
    for _ in range(4):
        fifo.read(1 << 16)
    Path(HERE, "reads").write_text("")
    while not Path(HERE, "go").exists():
        time.sleep(0.01)
    while fifo.read(1 << 16):
        pass
    Path(HERE, "end of file").write_text("")
    """
    with run_job.start(text, f"--channel=broken={source}") as command:
        command.wait_for_file("reads")
        (source / "19").write_bytes(b"shorter")
        (work_dir / "go").write_text("")
        ended = command.finish()
    assert ended.status == 1
    assert str(source / "19") in ended.stderr
    assert "channel 'broken'" in ended.stderr
    assert not (work_dir / "end of file").exists()


def test_changed_under_the_last_reader_fails_the_job(run_job, work_dir, tmp_path):
    (tmp_path / "source").write_bytes(bytes(500_000))
    text = """
    with open(os.environ["SM_CHANNEL_CHANGED"] + "_0", "rb") as fifo:
        fifo.read(1)
        with open(HERE + "/source", "r+b") as file:
            file.write(b"new")
        fifo.read()
    (model / "m").write_text("m")
    """
    ended = run_job(text, f"--channel=changed={tmp_path / 'source'}", channels=())
    assert ended.status == 1
    assert f"'{tmp_path / 'source'}' has changed since the job began" in ended.stderr
    assert model_of(work_dir / "out") == {"m": "m"}


UNLIKELY = ["_SUCCESS", ".part-0.crc", "_temporary/0", "empty/_SUCCESS", "part-0", "a_b.c"]


@pytest.mark.parametrize(
    ("settings", "sent", "warned"),
    [
        ("", ["_SUCCESS", ".part-0.crc", "_temporary/0"], True),
        # An object without a byte is a record without one.
        (",wrapper=RecordIO", ["_SUCCESS", ".part-0.crc", "_temporary/0", "empty/_SUCCESS"], True),
        (",mode=File", [], False),
    ],
    ids=["Pipe", "RecordIO", "File"],
)
def test_names_that_are_often_not_data(run_job, work_dir, settings, sent, warned):
    """They are sent as in the service, which is said once for all hosts."""
    source = work_dir / "source"
    for name in UNLIKELY:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name.startswith("empty") else f"{name};")
    text = """
    path = os.environ["SM_CHANNEL_OTHER"]
    if Path(path).is_dir():
        print(*sorted(str(file.relative_to(path)) for file in Path(path).rglob("*")))
    else:
        print(Path(path + "_0").read_bytes())
    """
    ended = run_job(text, f"--channel=other={source}{settings}", "--instance-count=2")
    assert ended.status == 0, ended.stderr
    for name in UNLIKELY:
        assert name in ended.stdout or name.startswith("empty")
    lines = [line for line in ended.stderr.splitlines() if "'_' or '.'" in line]
    if not warned:
        assert lines == []
        return
    shown = sorted(sent, key=str.encode)
    text = ", ".join(map(repr, shown[:3])) + (", …" if len(shown) > 3 else "")
    assert lines == [
        "pipemode: channel 'other': as in the service, the script gets all objects, also "
        f"{len(sent)} with names that begin with '_' or '.', which often are not data: {text}"
    ]


def test_names_that_a_manifest_has(run_job, work_dir):
    """They are wanted."""
    source = make_folder(work_dir / "source")
    (source / "_one").write_text("1")
    (source / "manifest").write_text(json.dumps([{"prefix": f"file://{source}/"}, "_one"]))
    text = "print(Path(os.environ['SM_CHANNEL_OTHER'] + '_0').read_bytes())"
    ended = run_job(text, f"--channel=other={source / 'manifest'},type=ManifestFile")
    assert (ended.status, ended.stdout) == (0, "b'1'\n"), ended.stderr
    assert "'_' or '.'" not in ended.stderr


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_file_mode(run_job, work_dir, training_data, mode):
    ended = run_job(
        """
        files = sorted(Path(os.environ["SM_CHANNEL_FILES"]).iterdir())
        print([path.name for path in files], sum(path.stat().st_size for path in files))
        """,
        f"--channel=files={training_data},mode={mode}",
        channels=(),
    )
    assert ended.status == 0, ended.stderr
    size = sum(path.stat().st_size for path in training_data.iterdir())
    assert ended.stdout == f"{[path.name for path in sorted(training_data.iterdir())]} {size}\n"
    assert "never opened" not in ended.stderr
