# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: where a script may come from, and what comes with it."""

import json
import os
import sys
import tarfile
import zipfile

import pytest
from run_helpers import Command, model_of, write_script

pytestmark = pytest.mark.long


def test_shell_script_and_source_folder(work_dir):
    source = work_dir / "src"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "go.sh").write_text('#!/bin/sh\necho "$0 $* in $(basename $PWD)"; exit 4\n')
    with Command(work_dir, "bin/go.sh", "--source-dir=src", "-pa=1 2") as command:
        ended = command.finish()
    assert ended.status == 4
    assert ended.stdout == "./bin/go.sh -a 1 2 in code\n"


def test_archive_of_sources(work_dir):
    """And without an output path, so that the model comes to where we are."""
    write_script(work_dir, "import lib; (model / 'm').write_text(lib.TEXT)")
    (work_dir / "lib.py").write_text("TEXT = 'from the archive'")
    with tarfile.open(work_dir / "sourcedir.tar.gz", "w:gz") as archive:
        for name in ("train.py", "lib.py"):
            archive.add(work_dir / name, name)
            (work_dir / name).unlink()
    request = {
        "TrainingJobName": "j",
        "HyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "file://sourcedir.tar.gz",
        },
    }
    (work_dir / "job.json").write_text(json.dumps(request))
    with Command(work_dir / "out", "--request=../job.json") as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert model_of(work_dir / "out") == {"m": "from the archive"}


def test_job_folder_in_the_source_folder(work_dir):
    write_script(work_dir, "sys.stdout.write(f'{sorted(os.listdir())}\\n')")
    for number in range(2):
        base = f"--base-dir=runs/{number}"
        with Command(work_dir, "train.py", "--source-dir=.", "--instance-count=2", base) as command:
            ended = command.finish()
            assert ended.status == 0, ended.stderr
            assert ended.stdout == "['out', 'runs', 'tmp', 'train.py']\n" * 2
    code = work_dir / "runs" / "1" / "algo-1" / "code"
    assert [path.name for path in (code / "runs").iterdir()] == ["0"]


def test_requirements(work_dir, tmp_path):
    source = work_dir / "src"
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
        work_dir, "train.py", "--source-dir=src", "--requirements", env=variables
    ) as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert ended.stdout.endswith("42\n")
    assert (target / "tiny.py").exists()
