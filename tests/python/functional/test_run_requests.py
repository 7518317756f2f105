# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: ``--request``, ``--dry-run``, and mistakes in what is asked for."""

import json
import tempfile

import pytest
from run_helpers import FILES, RECORDS, Command, write_script
from sagemaker_tensorflow.cli import app
from typer.testing import CliRunner

pytestmark = pytest.mark.long


def test_request_file(work_dir, training_data):
    write_script(work_dir, "print(read(), sys.argv[1:])")
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
                "DataSource": {"FileDataSource": {"FileUri": f"file://{training_data}"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "file://out"},
        "VpcConfig": {"Subnets": []},
    }
    (work_dir / "job.json").write_text(json.dumps(request))
    elsewhere = work_dir / "elsewhere"
    elsewhere.mkdir()
    with Command(elsewhere, "--request=../job.json", "-pepochs=4") as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert ended.stdout == f"{RECORDS} ['--epochs', '4']\n"
    assert "nothing is done with VpcConfig" in ended.stderr


def test_dry_run_gives_a_request_that_runs(run_job, work_dir):
    text = "print(read(), sys.argv[1:]); (model / 'm').write_text('m')"
    dry = run_job(text, "-pa=b", "--dry-run", "--instance-count=1", "--max-run=100")
    assert dry.status == 0
    assert f"Pipe mode; {FILES} objects, 60 MB" in dry.stderr
    assert "time limit     100 s" in dry.stderr
    assert list((work_dir / "out").iterdir()) == []
    (work_dir / "job.json").write_text(dry.stdout)
    for _ in range(2):
        with Command(work_dir, "--request=job.json") as command:
            ended = command.finish()
        assert ended.status == 0, ended.stderr
        assert ended.stdout == f"{RECORDS} ['-a', 'b']\n"
    assert len(list((work_dir / "out").glob("*/output/model.tar.gz"))) == 2


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
def test_mistakes_are_named(work_dir, monkeypatch, argument, said, more):
    if more and argument in LATE:
        pytest.skip("not seen by --dry-run")
    monkeypatch.chdir(work_dir)
    monkeypatch.setenv("PATH", str(work_dir))
    monkeypatch.setattr(tempfile, "tempdir", str(work_dir / "out"))
    write_script(work_dir, "")
    done = CliRunner().invoke(app, ["run", "train.py", argument, *more])
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert done.stdout == ""
    assert list((work_dir / "out").iterdir()) == []
