# SPDX-License-Identifier: Apache-2.0
"""``pipemode run`` with real scripts and FIFOs: what they find, and how jobs end."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from types import SimpleNamespace

import pytest
from pipe_helpers import stream
from run_helpers import SIGINT_EXIT, SIGTERM_EXIT, Command, write_script
from sagemaker_tensorflow._base.shutdown_signals import Interrupted
from sagemaker_tensorflow._local.feed.job_feeders import Feeders
from sagemaker_tensorflow._local.request import command_line
from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request.settings import Settings
from sagemaker_tensorflow._local.run import runner
from sagemaker_tensorflow._local.script import opt_ml
from sagemaker_tensorflow.cli import app
from sagemaker_tensorflow.records import RecordWriter
from typer.testing import CliRunner

# More than pipes and read-ahead hold, so that nobody has sent it before it is read.
RECORDS = 600
RECORD = bytes(100_000)
FILES = 3


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder of TFRecords."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(FILES):
        with RecordWriter(folder / f"{number}.tfrecord", "TFRecord") as writer:
            for _ in range(RECORDS // FILES):
                writer.write(RECORD)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Where commands are started; what jobs write goes into its ``out``."""
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def run(folder, data):
    """Runs a script's text as a job with one channel, and sees that nothing is left of it."""

    def run(text, *arguments, channels=("training",), timeout=90, **options):
        with start(text, *arguments, channels=channels, **options) as command:
            return command.finish(timeout)

    def start(text, *arguments, channels=("training",), **options):
        script = write_script(folder, text)
        given = [f"--channel={channel}={data}" for channel in channels]
        return Command(folder, script, *given, "--output-path=out", *arguments, **options)

    run.start = start
    return run


def model_of(folder):
    """The files of the collected model, by name."""
    [path] = (folder / "out").glob("*/output/model.tar.gz")
    with tarfile.open(path) as archive:
        return {
            member.name: archive.extractfile(member).read().decode()
            for member in archive.getmembers()
            if member.isfile()
        }


def test_trains(run, folder):
    ended = run(
        """
        print([read() for _ in range(3)])
        print("to stderr", file=sys.stderr)
        (model / "weights").write_text("w")
        Path(os.environ["SM_OUTPUT_DATA_DIR"], "curve").write_text("c")
        """,
    )
    assert ended.status == 0, ended.stderr
    assert ended.stdout == f"{[RECORDS] * 3}\n"
    assert ended.stderr.startswith("to stderr\n")
    assert "completed in" in ended.stderr
    assert model_of(folder) == {"weights": "w"}
    [output] = (folder / "out").glob("*/output/output.tar.gz")
    assert str(output) in ended.stderr


def test_what_a_script_finds(run, folder):
    ended = run(
        """
        base = Path(os.environ["SAGEMAKER_BASE_DIR"])
        assert Path.cwd() == base / "code" == Path(os.environ["SM_MODULE_DIR"])
        assert os.environ["SM_CHANNEL_TRAINING"] == str(base / "input/data/training")
        assert os.environ["SM_HPS"] == '{"flag":true,"name":"a b","rate":0.001}'
        assert os.environ["MINE"] == "x=y"
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
        assert "SM_OLD" not in os.environ
        assert sorted(os.listdir()) == ["more", "other.py", "train.py"]
        import other
        assert sys.stdin.read() == ""
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        print(sys.argv)
        """,
        "--hyperparameter=name=a b",
        "-pflag=true",
        "-p",
        "rate=1e-3",
        "--env=MINE=x=y",
        "--env=TF_DISABLE_MKL=1",
        f"--dependencies={write_script(folder, '', 'other.py')}",
        f"--dependencies={_folder(folder / 'more')}",
        env={"SM_OLD": "1"},
    )
    assert ended.status == 0, ended.stderr
    assert ended.stdout == "['train.py', '--flag', 'True', '--name', 'a b', '--rate', '0.001']\n"
    assert "channel 'training' was never opened by the script" in ended.stderr


def _folder(path):
    path.mkdir()
    (path / "file").write_text("text")
    return path


def test_base_folder_is_kept_and_must_be_fresh(run, folder):
    text = "read(); (model / 'm').write_text('m')"
    ended = run(text, "--base-dir=ml")
    assert ended.status == 0, ended.stderr
    ml = folder / "ml"
    assert (ml / "output" / "success").read_text() == ""
    assert (ml / "model" / "m").read_text() == "m"
    assert list((ml / "input" / "data").iterdir()) == []  # no FIFO is left
    again = run(text, "--base-dir=ml")
    assert again.status == 1
    assert "is not empty: each job needs a fresh one" in again.stderr


def test_crash(run, folder):
    ended = run("read(limit=2); sys.exit(7)", "--base-dir=ml")
    assert ended.status == 7
    assert "failed after" in ended.stderr
    assert "train.py ended with exit status 7" in ended.stderr
    assert "ended with exit status 7" in (folder / "ml" / "output" / "failure").read_text()
    assert not (folder / "ml" / "output" / "success").exists()


def test_killed_by_a_signal(run):
    ended = run("read(limit=2); os.kill(os.getpid(), signal.SIGSEGV)")
    assert ended.status == 128 + signal.SIGSEGV
    assert "train.py was killed by SIGSEGV" in ended.stderr


def test_own_failure_file(run, folder):
    ended = run("Path('../output/failure').write_text('my reason'); sys.exit(1)", "--base-dir=ml")
    assert ended.status == 1
    assert "my reason" in ended.stderr
    assert (folder / "ml" / "output" / "failure").read_text() == "my reason"


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_never_opens(run, epochs):
    ended = run(f"print([read() for _ in range({epochs})])", channels=("training", "other"))
    assert ended.status == 0, ended.stderr
    assert "'other' was never opened" in ended.stderr


def test_opens_late_and_reads_half(run):
    ended = run(
        """
        time.sleep(0.5)
        print(read(limit=300), read(limit=1), read())
        """
    )
    assert ended.status == 0, ended.stderr
    assert ended.stdout == f"300 1 {RECORDS}\n"
    assert "3 (2 closed early)" in ended.stderr


def test_children_end_with_the_script(run):
    ended = run(
        """
        for command in (["sleep", "1000"], ["setsid", "sleep", "1000"],
                        ["sh", "-c", "trap '' TERM INT HUP; setsid sleep 1000 & sleep 1000"]):
            subprocess.Popen(command)
        # One that nobody is the parent of.
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", "1000"])
            os._exit(0)
        os.wait()
        print(read())
        """
    )
    assert ended.status == 0, ended.stderr
    assert ended.stdout == f"{RECORDS}\n"
    assert re.search("killed what the script had left running; processes: [3-9]", ended.stderr)


HANGS = """
read(limit=1)
Path(HERE, "reads").write_text("")
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, SIGINT_EXIT), (signal.SIGTERM, SIGTERM_EXIT)]
)
def test_signals_reach_the_script(run, number, status):
    with run.start(HANGS + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        command.send(number)
        ended = command.finish()
    assert ended.status == status
    assert "failed after" in ended.stderr
    assert f"stopped by {signal.Signals(number).name}" in ended.stderr


def test_script_that_ends_well_when_told_to(run, folder):
    text = """
    def save(*_):
        (model / "saved").write_text("yes")
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    """
    with run.start(text + HANGS.replace("\n", "\n    ") + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        command.send(signal.SIGTERM)
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert model_of(folder) == {"saved": "yes"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ignored_signals_stay_ignored(run, number):
    """As nohup, and the ``&`` of a shell without job control, ask for."""
    text = HANGS + "while not Path(HERE, 'go').exists(): time.sleep(0.01)"
    ignored = {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}
    with run.start(text, **ignored) as command:
        command.wait_for_file("reads")
        command.send(number)
        (command.folder / "go").write_text("")
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert signal.Signals(number).name not in ended.stderr


def test_signal_between_the_script_and_its_model(run, folder, monkeypatch):
    """The moment after the scripts' end, in which nobody waits for signals any more."""
    job = jobs.from_request(
        command_line.apply(
            command_line.Options(
                script=write_script(folder, "(model / 'm').write_text('m')"),
                output_path=str(folder / "out"),
            ),
            None,
        ),
        folder,
    )
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    class Impatient(Feeders):
        def stop(self):
            os.kill(os.getpid(), signal.SIGINT)
            super().stop()

    monkeypatch.setattr(runner, "Feeders", Impatient)
    said = []
    observer = SimpleNamespace(output=(None, None), say=said.append, show=lambda *_: None)
    with pytest.raises(Interrupted):
        runner.run(job, Settings(), observer)
    [kept] = folder.glob("pipemode-job-*")
    assert (kept / "model" / "m").read_text() == "m"
    assert said == [f"model and output are still in {kept}"]


def test_host_that_fails_keeps_the_model(folder, monkeypatch):
    """The script that is ended for it takes nothing along."""
    script = write_script(folder, "(model / 'm').write_text('m'); time.sleep(1000)")
    said = command_line.Options(script=script, output_path=str(folder / "out"))
    job = jobs.from_request(command_line.apply(said, None), folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def show(*_):
        if list(folder.glob("pipemode-job-*/model/m")):
            raise OSError("a fault of the host")

    lines = []
    observer = SimpleNamespace(output=(None, None), say=lines.append, show=show)
    with pytest.raises(OSError, match="a fault of the host"):
        runner.run(job, Settings(), observer)
    [kept] = folder.glob("pipemode-job-*")
    assert (kept / "model" / "m").exists()
    assert lines == [f"model and output are still in {kept}"]


def test_script_that_spoils_its_folders(run, folder):
    ended = run(
        """
        import shutil
        data = Path("../input/data")
        shutil.rmtree(data)
        data.write_text("in the way")
        (model / "m").write_text("m")
        time.sleep(1000)
        """
    )
    assert ended.status == 1
    assert "channel 'training'" in ended.stderr
    assert model_of(folder) == {"m": "m"}


STUBBORN = """
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["setsid", "sleep", "1000"])
"""


def test_grace_period(run):
    with run.start(STUBBORN + HANGS + "time.sleep(1000)", "--grace=0.5") as command:
        command.wait_for_file("reads")
        begun = time.monotonic()
        command.send(signal.SIGTERM)
        ended = command.finish()
    assert ended.status == 128 + signal.SIGKILL
    assert 0.5 <= time.monotonic() - begun < 25  # and not 30, the default


def test_second_interrupt_kills(run):
    with run.start(STUBBORN + HANGS + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        command.send(signal.SIGINT)
        for line in command.process.stderr:
            if "waiting up to 30 s" in line:
                break
        command.send(signal.SIGINT)
        ended = command.finish(timeout=25)
    assert ended.status == 128 + signal.SIGKILL
    assert "killing the script" in ended.stderr


def test_host_that_is_killed_takes_the_script_along(run):
    with run.start(STUBBORN + HANGS + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        assert len(command.processes()) > 2
        command.send(signal.SIGKILL)
        command.finish()


def test_host_that_is_killed_before_there_is_a_script(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        variables = {
            "AWS_ENDPOINT_URL_S3": "http://{}:{}".format(*server.getsockname()),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        script = write_script(folder, "")
        with Command(folder, script, "--channel=x=s3://bucket/x", env=variables) as command:
            server.settimeout(60)
            connection, _ = server.accept()  # it is listing, and will not hear of it
            with connection:
                assert len(list(command.tmp.iterdir())) == 1
                command.send(signal.SIGKILL)
                command.finish()


def test_killed_host_leaves_no_fifo_in_a_folder_that_is_kept(run, folder):
    with run.start(HANGS + "time.sleep(1000)", "--base-dir=ml") as command:
        command.wait_for_file("reads")
        data_dir = folder / "ml" / "input" / "data"
        assert "training_0" in {path.name for path in data_dir.iterdir()}
        command.send(signal.SIGKILL)
        command.finish()
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("compression_type", [None, "GZIP"])
@pytest.mark.parametrize(
    "kills", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_host_killed_at_any_moment(run, folder, kills, compression_type):
    """Nothing is left, and the script took no cut-off epoch for a whole one.

    Of plain data it may, between two records: only a compressed stream says where it ends, once it
    has begun.
    """
    rng = random.Random(kills)
    records = [rng.randbytes(100_000) for _ in range(40)]
    (folder / "data").write_bytes(stream(records, "TFRecord", compression_type))
    script = write_script(
        folder,
        f"""
        from sagemaker_tensorflow.records import ChannelReader
        with open(Path(HERE, "log"), "a") as log:
            while True:
                options = {{"compression_type": {compression_type!r}}}
                with ChannelReader("training", "TFRecord", **options) as reader:
                    print(sum(1 for _ in reader), file=log, flush=True)
        """,
    )
    whole = len(records)
    has_seen_whole = False
    for _ in range(kills):
        (folder / "log").write_text("")
        with Command(folder, script, f"--channel=training={folder / 'data'}") as command:
            time.sleep(rng.uniform(0, 3))
            assert command.process.poll() is None, command.process.communicate()
            command.send(signal.SIGKILL)
            command.finish()
        seen = [int(count) for count in (folder / "log").read_text().split()]
        assert seen[:-1] == [whole] * len(seen[:-1])
        # The host may die before it sends the first byte. No bytes are an epoch without objects.
        may_be_last = {0, whole} if compression_type is not None else range(whole + 1)
        assert set(seen[-1:]) <= set(may_be_last)
        has_seen_whole = has_seen_whole or whole in seen
    assert has_seen_whole or kills < 10


def test_time_limit(run):
    ended = run(HANGS + "time.sleep(1000)", "--max-run=1")
    assert ended.status == 124
    assert "the script ran for more than 1 s (MaxRuntimeInSeconds)" in ended.stderr


def test_broken_source_fails_the_job(run, folder, tmp_path):
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
    with run.start(text, f"--channel=broken={source}") as command:
        command.wait_for_file("reads")
        (source / "19").write_bytes(b"shorter")
        (folder / "go").write_text("")
        ended = command.finish()
    assert ended.status == 1
    assert str(source / "19") in ended.stderr
    assert "channel 'broken'" in ended.stderr
    assert not (folder / "end of file").exists()


def test_changed_under_the_last_reader_fails_the_job(run, folder, tmp_path):
    (tmp_path / "source").write_bytes(bytes(500_000))
    text = """
    with open(os.environ["SM_CHANNEL_CHANGED"] + "_0", "rb") as fifo:
        fifo.read(1)
        with open(HERE + "/source", "r+b") as file:
            file.write(b"new")
        fifo.read()
    (model / "m").write_text("m")
    """
    ended = run(text, f"--channel=changed={tmp_path / 'source'}", channels=())
    assert ended.status == 1
    assert f"'{tmp_path / 'source'}' has changed since the job began" in ended.stderr
    assert model_of(folder) == {"m": "m"}


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
def test_names_that_are_often_not_data(run, folder, settings, sent, warned):
    """They are sent as in the service, which is said once for all hosts."""
    source = folder / "source"
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
    ended = run(text, f"--channel=other={source}{settings}", "--instance-count=2")
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


def test_names_that_a_manifest_has(run, folder):
    """They are wanted."""
    source = _folder(folder / "source")
    (source / "_one").write_text("1")
    (source / "manifest").write_text(json.dumps([{"prefix": f"file://{source}/"}, "_one"]))
    text = "print(Path(os.environ['SM_CHANNEL_OTHER'] + '_0').read_bytes())"
    ended = run(text, f"--channel=other={source / 'manifest'},type=ManifestFile")
    assert (ended.status, ended.stdout) == (0, "b'1'\n"), ended.stderr
    assert "'_' or '.'" not in ended.stderr


def test_two_jobs_at_once(run, folder):
    text = "print(read(), os.getcwd())"
    with run.start(text, "--job-name=one") as one, run.start(text, "--job-name=two") as two:
        outputs = [command.process.communicate(timeout=90) for command in (one, two)]
    folders = set()
    for stdout, stderr in outputs:
        count, path = stdout.split()
        assert int(count) == RECORDS, stderr
        folders.add(path)
    assert len(folders) == 2
    one.assert_nothing_is_left()


def test_two_hosts(run, folder, data):
    ended = run(
        """
        assert json.loads(os.environ["SM_HOSTS"]) == ["algo-1", "algo-2"]
        host = os.environ["SM_CURRENT_HOST"]
        assert json.loads(os.environ["SM_RESOURCE_CONFIG"])["current_host"] == host
        config = json.loads(os.environ["TF_CONFIG"])
        assert config["task"] == {"type": "worker", "index": int(host[-1]) - 1}
        assert len(set(config["cluster"]["worker"])) == 2
        (model / host).write_text(str([read(), read("mine")]))
        """,
        "--instance-count=2",
        f"--channel=mine={data},distribution=ShardedByS3Key",
        "-psagemaker_multi_worker_mirrored_strategy_enabled=true",
    )
    assert ended.status == 0, ended.stderr
    found = {name: json.loads(text) for name, text in model_of(folder).items()}
    assert found.keys() == {"algo-1", "algo-2"}
    assert [one[0] for one in found.values()] == [RECORDS] * 2
    assert sum(one[1] for one in found.values()) == RECORDS
    assert all(one[1] % (RECORDS // FILES) == 0 for one in found.values())
    assert "algo-2 mine" in ended.stderr


@pytest.mark.parametrize("compression", ["GZIP", "NONE"])
def test_files_of_one_name_on_several_hosts(run, folder, compression):
    """The first host's are taken, once."""
    text = """
    host = os.environ["SM_CURRENT_HOST"]
    (model / "both").mkdir()
    (model / "both" / "same").write_text(host)
    (model / "both" / host).write_text(host)
    """
    write_script(folder, text)
    request = {
        "TrainingJobName": "j",
        "HyperParameters": {"sagemaker_program": "train.py"},
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "local"},
        "OutputDataConfig": {"S3OutputPath": "file://out", "CompressionType": compression},
    }
    (folder / "job.json").write_text(json.dumps(request))
    with Command(folder, "--request=job.json") as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert (
        "several hosts have files of the same name in their model, 'both/same' the first of 1: "
        "those of algo-1 are taken" in ended.stderr
    )
    expected = {"both/same": "algo-1", "both/algo-1": "algo-1", "both/algo-2": "algo-2"}
    if compression == "NONE":
        output = folder / "out" / "j" / "output" / "model"
        found = {
            str(path.relative_to(output)): path.read_text()
            for path in output.rglob("*")
            if path.is_file()
        }
        assert found == expected
        return
    assert model_of(folder) == expected
    with tarfile.open(folder / "out" / "j" / "output" / "model.tar.gz") as archive:
        names = archive.getnames()
    assert sorted(names) == sorted(["both", *expected])


@pytest.fixture
def opt_ml_can_be_mounted(tmp_path):
    (tmp_path / "code").mkdir()
    command = [sys.executable, opt_ml.__file__, str(tmp_path), "/bin/sh", "-c", ":"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(done.stderr)


@pytest.mark.usefixtures("opt_ml_can_be_mounted")
def test_script_that_knows_only_opt_ml(run, folder):
    ended = run(
        """
        assert Path.cwd() == Path("/opt/ml/code")
        told = [os.environ[name] for name in os.environ if name.startswith("SM_")]
        assert not [text for text in told if "pipemode-job" in text]
        assert os.environ["SM_CHANNEL_TRAINING"] == "/opt/ml/input/data/training"
        names = json.loads(Path("/opt/ml/input/config/hyperparameters.json").read_text())
        assert names["sagemaker_submit_directory"] == '"/opt/ml/code"'
        subprocess.Popen(["setsid", "sleep", "1000"])
        Path("/opt/ml/model", os.environ["SM_CURRENT_HOST"]).write_text(str(read()))
        """,
        "--opt-ml",
        "--instance-count=2",
    )
    assert ended.status == 0, ended.stderr
    assert model_of(folder) == {"algo-1": str(RECORDS), "algo-2": str(RECORDS)}


@pytest.mark.usefixtures("opt_ml_can_be_mounted")
def test_script_at_opt_ml_is_ended_like_any_other(run):
    with run.start(STUBBORN + HANGS + "time.sleep(1000)", "--opt-ml") as command:
        command.wait_for_file("reads")
        command.send(signal.SIGKILL)
        command.finish()


def test_host_that_fails_ends_the_others(run):
    ended = run(
        """
        if os.environ["SM_CURRENT_HOST"] == "algo-2":
            sys.exit(5)
        time.sleep(1000)
        """,
        "--instance-count=3",
    )
    assert ended.status == 5
    assert "train.py on algo-2 ended with exit status 5; stopping the other hosts" in ended.stderr


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_file_mode(run, folder, data, mode):
    ended = run(
        """
        files = sorted(Path(os.environ["SM_CHANNEL_FILES"]).iterdir())
        print([path.name for path in files], sum(path.stat().st_size for path in files))
        """,
        f"--channel=files={data},mode={mode}",
        channels=(),
    )
    assert ended.status == 0, ended.stderr
    size = sum(path.stat().st_size for path in data.iterdir())
    assert ended.stdout == f"{[path.name for path in sorted(data.iterdir())]} {size}\n"
    assert "never opened" not in ended.stderr


def test_shell_script_and_source_folder(folder):
    source = folder / "src"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "go.sh").write_text('#!/bin/sh\necho "$0 $* in $(basename $PWD)"; exit 4\n')
    with Command(folder, "bin/go.sh", "--source-dir=src", "-pa=1 2") as command:
        ended = command.finish()
    assert ended.status == 4
    assert ended.stdout == "./bin/go.sh -a 1 2 in code\n"


def test_request_file(run, folder, data):
    write_script(folder, "print(read(), sys.argv[1:])")
    request = {
        "TrainingJobName": "from-file",
        "AlgorithmSpecification": {"TrainingInputMode": "Pipe", "TrainingImage": "any"},
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "file://.",
            "epochs": "3",
        },
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "DataSource": {"FileDataSource": {"FileUri": f"file://{data}"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "file://out"},
        "VpcConfig": {"Subnets": []},
    }
    (folder / "job.json").write_text(json.dumps(request))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    with Command(elsewhere, "--request=../job.json", "-pepochs=4") as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert ended.stdout == f"{RECORDS} ['--epochs', '4']\n"
    assert "nothing is done with VpcConfig" in ended.stderr


def test_archive_of_sources(folder, data):
    """And without an output path, so that the model comes to where we are."""
    write_script(folder, "import lib; (model / 'm').write_text(lib.TEXT)")
    (folder / "lib.py").write_text("TEXT = 'from the archive'")
    with tarfile.open(folder / "sourcedir.tar.gz", "w:gz") as archive:
        for name in ("train.py", "lib.py"):
            archive.add(folder / name, name)
            (folder / name).unlink()
    request = {
        "TrainingJobName": "j",
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "file://sourcedir.tar.gz",
        },
    }
    (folder / "job.json").write_text(json.dumps(request))
    with Command(folder / "out", "--request=../job.json") as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert model_of(folder) == {"m": "from the archive"}


def test_dry_run_gives_a_request_that_runs(run, folder):
    text = "print(read(), sys.argv[1:]); (model / 'm').write_text('m')"
    dry = run(text, "-pa=b", "--dry-run", "--instance-count=1", "--max-run=100")
    assert dry.status == 0
    assert f"Pipe mode; {FILES} objects, 60 MB" in dry.stderr
    assert "time limit     100 s" in dry.stderr
    assert list((folder / "out").iterdir()) == []
    (folder / "job.json").write_text(dry.stdout)
    for _ in range(2):
        with Command(folder, "--request=job.json") as command:
            ended = command.finish()
        assert ended.status == 0, ended.stderr
        assert ended.stdout == f"{RECORDS} ['-a', 'b']\n"
    assert len(list((folder / "out").glob("*/output/model.tar.gz"))) == 2


MISTAKES = [
    ("--channel=a b=/tmp", "InputDataConfig[0].ChannelName: 'a b' is not allowed"),
    ("--channel=x=/tmp,mode=pipe", "InputDataConfig[0].InputMode: 'pipe': write Pipe"),
    ("--channel=x=/tmp,shufle-seed=3", "did you mean shuffle-seed?"),
    ("--channel=x=/tmp,shuffle-seed=z", "shuffle-seed=z: a number expected"),
    ("--channel=x", "--channel x: NAME=VALUE expected"),
    ("--channel=x=/no/such/folder", "'/no/such/folder' does not exist"),
    ("--env=1=2", "Environment (key '1'): '1' is not allowed"),
    ("--request=missing.json", "cannot read 'missing.json': No such file"),
    ("--dependencies=missing", "--dependencies: there is no 'missing'"),
    ("--base-dir=.", "is not empty: each job needs a fresh one"),
    ("--channel=x=/tmp,type=ManifestFile", "'/tmp' is a folder, and with type ManifestFile"),
    ("--source-dir=missing", "HyperParameters.sagemaker_submit_directory: there is no "),
    ("--requirements", "there is no requirements.txt"),
    ("--report=no/such/r.html", "is not a file in a folder that exists"),
    ("--output-path=/dev/null/x", "OutputDataConfig.S3OutputPath: '/dev/null' cannot be"),
    ("-psagemaker_mpi_enabled=true", "HyperParameters.sagemaker_mpi_enabled: there is no mpirun"),
    ("-psagemaker_program=/bin/sh", "HyperParameters.sagemaker_program: '/bin/sh': a path inside"),
]


# What only shows when the folders are laid out, or the script is started.
LATE = ("--requirements", "-psagemaker_mpi_enabled=true")


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry-run"])
@pytest.mark.parametrize(("argument", "said"), MISTAKES, ids=[said for _, said in MISTAKES])
def test_mistakes_are_named(folder, monkeypatch, argument, said, more):
    if more and argument in LATE:
        pytest.skip("not seen by --dry-run")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "out"))
    write_script(folder, "")
    done = CliRunner().invoke(app, ["run", "train.py", argument, *more])
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert done.stdout == ""
    assert list((folder / "out").iterdir()) == []


def test_job_folder_in_the_source_folder(folder):
    write_script(folder, "sys.stdout.write(f'{sorted(os.listdir())}\\n')")
    for number in range(2):
        base = f"--base-dir=runs/{number}"
        with Command(folder, "train.py", "--source-dir=.", "--instance-count=2", base) as command:
            ended = command.finish()
            assert ended.status == 0, ended.stderr
            assert ended.stdout == "['out', 'runs', 'tmp', 'train.py']\n" * 2
    code = folder / "runs" / "1" / "algo-1" / "code"
    assert [path.name for path in (code / "runs").iterdir()] == ["0"]


def test_requirements(run, folder, tmp_path):
    source = folder / "src"
    source.mkdir()
    wheel = source / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "VALUE = 42\n")
        archive.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    (source / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    (source / "train.py").write_text("import tiny; print(tiny.VALUE)")
    target = tmp_path / "installed"
    variables = {
        "PIP_TARGET": str(target),
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": os.pathsep.join([str(target), *sys.path]),
    }
    with Command(
        folder, "train.py", "--source-dir=src", "--requirements", env=variables
    ) as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert ended.stdout.endswith("42\n")
    assert (target / "tiny.py").exists()


def test_checkpoints_stay(run, folder):
    text = """
    path = Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "count")
    count = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(count))
    print(count)
    """
    write_script(folder, text)
    request = {
        "HyperParameters": {"sagemaker_program": "train.py"},
        "CheckpointConfig": {"S3Uri": "file://kept"},
    }
    (folder / "job.json").write_text(json.dumps(request))
    for expected in "12":
        with Command(folder, "--request=job.json") as command:
            assert command.finish().stdout == f"{expected}\n"
    assert (folder / "kept" / "count").read_text() == "2"


def test_output_that_cannot_be_collected_is_kept(run, folder):
    text = """
    (model / "m").write_text("m")
    out = Path(HERE, "out")
    out.rmdir()
    out.write_text("in the way")
    """
    script = write_script(folder, text)
    with Command(folder, script, "--output-path=out") as command:
        _, errors = command.process.communicate(timeout=90)
    assert command.process.returncode == 1
    assert "cannot collect the model" in errors
    [kept] = command.tmp.iterdir()
    assert str(kept) in errors
    assert (kept / "model" / "m").read_text() == "m"


def test_report(run, folder):
    ended = run(
        "print(read(), read())",
        "--report=r[bold].html",  # no markup
        "--env=SECRET=sesame",
        "--hyperparameter=text=<&>",
        channels=("training", "other"),
    )
    assert ended.status == 0, ended.stderr
    assert "report: r[bold].html" in ended.stderr
    page = (folder / "r[bold].html").read_text()
    assert page.count("<svg") == 1  # the other channel was never opened
    assert "never opened" in page
    assert "&lt;&amp;&gt;" in page
    assert "sesame" not in page
    # Nothing is fetched from anywhere.
    assert "<script" not in page
    assert "<link" not in page
    assert "src=" not in page


def test_tensorflow_is_not_imported(folder, data):
    write_script(folder, "print(read())")
    code = (
        "import sys\nfrom sagemaker_tensorflow.cli import app\n"
        f"sys.argv = ['pipemode', 'run', 'train.py', '--channel=training={data}']\n"
        "try:\n    app()\nfinally:\n    assert 'tensorflow' not in sys.modules\n"
        "    assert 'matplotlib' not in sys.modules and 'boto3' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{RECORDS}\n"
