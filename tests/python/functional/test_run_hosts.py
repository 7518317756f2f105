# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: several hosts, each with a script, its channels, and one model."""

import json
import tarfile

import pytest
from run_helpers import FILES, RECORDS, Command, model_of, write_script

pytestmark = pytest.mark.long


def test_two_hosts(run_job, work_dir, training_data):
    ended = run_job(
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
        f"--channel=mine={training_data},distribution=ShardedByS3Key",
        "-psagemaker_multi_worker_mirrored_strategy_enabled=true",
    )
    assert ended.status == 0, ended.stderr
    found = {name: json.loads(text) for name, text in model_of(work_dir / "out").items()}
    assert found.keys() == {"algo-1", "algo-2"}
    assert [one[0] for one in found.values()] == [RECORDS] * 2
    assert sum(one[1] for one in found.values()) == RECORDS
    assert all(one[1] % (RECORDS // FILES) == 0 for one in found.values())
    assert "algo-2 mine" in ended.stderr


@pytest.mark.parametrize("compression", ["GZIP", "NONE"])
def test_files_of_one_name_on_several_hosts(work_dir, compression):
    """The first host's are taken, once."""
    text = """
    host = os.environ["SM_CURRENT_HOST"]
    (model / "both").mkdir()
    (model / "both" / "same").write_text(host)
    (model / "both" / host).write_text(host)
    """
    write_script(work_dir, text)
    request = {
        "TrainingJobName": "j",
        "HyperParameters": {"sagemaker_program": "train.py"},
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "local"},
        "OutputDataConfig": {"S3OutputPath": "file://out", "CompressionType": compression},
    }
    (work_dir / "job.json").write_text(json.dumps(request))
    with Command(work_dir, "--request=job.json") as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert (
        "several hosts have files of the same name in their model, 'both/same' the first of 1: "
        "those of algo-1 are taken" in ended.stderr
    )
    expected = {"both/same": "algo-1", "both/algo-1": "algo-1", "both/algo-2": "algo-2"}
    if compression == "NONE":
        output = work_dir / "out" / "j" / "output" / "model"
        found = {
            str(path.relative_to(output)): path.read_text()
            for path in output.rglob("*")
            if path.is_file()
        }
        assert found == expected
        return
    assert model_of(work_dir / "out") == expected
    with tarfile.open(work_dir / "out" / "j" / "output" / "model.tar.gz") as archive:
        names = archive.getnames()
    assert sorted(names) == sorted(["both", *expected])


def test_host_that_fails_ends_the_others(run_job):
    ended = run_job(
        """
        if os.environ["SM_CURRENT_HOST"] == "algo-2":
            sys.exit(5)
        time.sleep(1000)
        """,
        "--instance-count=3",
    )
    assert ended.status == 5
    assert "train.py on algo-2 ended with exit status 5; stopping the other hosts" in ended.stderr
