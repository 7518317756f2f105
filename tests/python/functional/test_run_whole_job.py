# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: whole jobs, what their scripts find, and what is left of them."""

import json
import re

import pytest
from pipe_helpers import Script
from run_helpers import RECORDS, Command, make_folder, model_of, write_script

pytestmark = pytest.mark.long


def test_trains(run_job, work_dir):
    ended = run_job(
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
    assert model_of(work_dir / "out") == {"weights": "w"}
    [output] = (work_dir / "out").glob("*/output/output.tar.gz")
    assert str(output) in ended.stderr


def test_what_a_script_finds(run_job, work_dir):
    ended = run_job(
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
        f"--dependencies={write_script(work_dir, '', 'other.py')}",
        f"--dependencies={make_folder(work_dir / 'more')}",
        env={"SM_OLD": "1"},
    )
    assert ended.status == 0, ended.stderr
    assert ended.stdout == "['train.py', '--flag', 'True', '--name', 'a b', '--rate', '0.001']\n"
    assert "channel 'training' was never opened by the script" in ended.stderr


def test_base_folder_is_kept_and_must_be_fresh(run_job, work_dir):
    text = "read(); (model / 'm').write_text('m')"
    ended = run_job(text, "--base-dir=ml")
    assert ended.status == 0, ended.stderr
    ml = work_dir / "ml"
    assert (ml / "output" / "success").read_text() == ""
    assert (ml / "model" / "m").read_text() == "m"
    assert list((ml / "input" / "data").iterdir()) == []  # no FIFO is left
    again = run_job(text, "--base-dir=ml")
    assert again.status == 1
    assert "is not empty: each job needs a fresh one" in again.stderr


def test_children_end_with_the_script(run_job):
    ended = run_job(
        """
        for command in (["sleep", "1000"], ["setsid", "sleep", "1000"],
                        ["sh", "-c", "trap '' TERM INT HUP; setsid sleep 1000 & sleep 1000"]):
            subprocess.Popen(command)
        # One whose parent ends before it.
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


def test_two_jobs_at_once(run_job, work_dir):
    text = "print(read(), os.getcwd())"
    with run_job.start(text, "--job-name=one") as one, run_job.start(text, "--job-name=two") as two:
        outputs = [command.process.communicate(timeout=90) for command in (one, two)]
    folders = set()
    for stdout, stderr in outputs:
        count, path = stdout.split()
        assert int(count) == RECORDS, stderr
        folders.add(path)
    assert len(folders) == 2
    one.assert_nothing_is_left()


def test_checkpoints_stay(work_dir):
    text = """
    path = Path(os.environ["SAGEMAKER_BASE_DIR"], "checkpoints", "count")
    count = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(count))
    print(count)
    """
    write_script(work_dir, text)
    request = {
        "HyperParameters": {"sagemaker_program": "train.py"},
        "CheckpointConfig": {"S3Uri": "file://kept"},
    }
    (work_dir / "job.json").write_text(json.dumps(request))
    for expected in "12":
        with Command(work_dir, "--request=job.json") as command:
            assert command.finish().stdout == f"{expected}\n"
    assert (work_dir / "kept" / "count").read_text() == "2"


def test_report(run_job, work_dir):
    ended = run_job(
        "print(read(), read())",
        "--report=r[bold].html",  # no markup
        "--env=SECRET=sesame",
        "--hyperparameter=text=<&>",
        channels=("training", "other"),
    )
    assert ended.status == 0, ended.stderr
    assert "report: r[bold].html" in ended.stderr
    page = (work_dir / "r[bold].html").read_text()
    assert page.count("<svg") == 1  # the other channel was never opened
    assert "never opened" in page
    assert "&lt;&amp;&gt;" in page
    assert "sesame" not in page
    # Nothing is fetched from anywhere.
    assert "<script" not in page
    assert "<link" not in page
    assert "src=" not in page


def test_tensorflow_is_not_imported(work_dir, training_data):
    write_script(work_dir, "print(read())")
    code = """
        import sys
        from sagemaker_tensorflow.cli import app
        sys.argv = ["pipemode", "run", "train.py", f"--channel=training={sys.argv[1]}"]
        try:
            app()
        finally:
            assert not {"tensorflow", "matplotlib", "boto3"} & sys.modules.keys()
    """
    with Script(code, training_data, cwd=work_dir) as script:
        status, output, errors = script.finish(60)
    assert (status, output) == (0, f"{RECORDS}\n"), errors
