# SPDX-License-Identifier: Apache-2.0
"""Where the folders of a job are: argument before environment before /opt/ml."""

from pathlib import Path

import pytest
from sagemaker_tensorflow._job import job_paths

FOLDERS = [job_paths.pipe_dir, job_paths.config_dir, job_paths.state_dir]


@pytest.mark.parametrize(
    ("environment", "pipe_dir", "config_dir", "state_dir"),
    [
        pytest.param(
            {}, "/opt/ml/input/data", "/opt/ml/input/config", "/opt/ml/pipe_state", id="default"
        ),
        pytest.param(
            {"SAGEMAKER_BASE_DIR": "/job"},
            "/job/input/data",
            "/job/input/config",
            "/job/pipe_state",
            id="base",
        ),
        pytest.param(
            {"SM_INPUT_DIR": "/in"}, "/in/data", "/in/config", "/opt/ml/pipe_state", id="input"
        ),
        pytest.param(
            {"SM_INPUT_CONFIG_DIR": "/config"},
            "/opt/ml/input/data",
            "/config",
            "/opt/ml/pipe_state",
            id="config",
        ),
        pytest.param(
            {"SAGEMAKER_BASE_DIR": "/job", "SM_INPUT_DIR": "/in", "SM_INPUT_CONFIG_DIR": "/config"},
            "/in/data",
            "/config",
            "/job/pipe_state",
            id="the nearer variable wins",
        ),
        pytest.param(
            {"SAGEMAKER_BASE_DIR": "", "SM_INPUT_DIR": "", "SM_INPUT_CONFIG_DIR": ""},
            "/opt/ml/input/data",
            "/opt/ml/input/config",
            "/opt/ml/pipe_state",
            id="empty is unset",
        ),
    ],
)
def test_environment(monkeypatch, environment, pipe_dir, config_dir, state_dir):
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert [folder() for folder in FOLDERS] == [pipe_dir, config_dir, state_dir]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("argument", ["/given", Path("/given")], ids=["str", "Path"])
def test_argument_beats_environment(monkeypatch, folder, argument):
    for variable in ("SAGEMAKER_BASE_DIR", "SM_INPUT_DIR", "SM_INPUT_CONFIG_DIR"):
        monkeypatch.setenv(variable, "/elsewhere")
    assert folder(argument) == "/given"
