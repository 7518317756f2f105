# SPDX-License-Identifier: Apache-2.0
"""Whether oneDNN is on: what the switches say, and what TensorFlow then really runs."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from sagemaker_tensorflow._op import build_info

pytestmark = pytest.mark.long

VARIABLES = [
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR",
    "TF_DISABLE_MKL",
    "TF_DISABLE_POOL_ALLOCATOR",
]
TENSORFLOW_FIRST = "import tensorflow, sagemaker_tensorflow"
PACKAGE_FIRST = "import sagemaker_tensorflow, tensorflow"

CONVOLUTION = """
import json
import tensorflow as tf
from sagemaker_tensorflow import mkldnn
tf.nn.conv2d(tf.ones([1, 32, 32, 8]), tf.ones([3, 3, 8, 8]), 1, "SAME").numpy()
print(json.dumps({"status": mkldnn.status()}))
"""


def run(code, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "2", **variables},
    )


def convolve(first_lines, **variables):
    """Runs a convolution; returns whether oneDNN ran it, ``status().enabled``, and stderr."""
    result = run(first_lines + "\n" + CONVOLUTION, ONEDNN_VERBOSE="1", **variables)
    lines = result.stdout.splitlines()
    ran = any(line.startswith("onednn_verbose") and ",convolution," in line for line in lines)
    [status] = [json.loads(line)["status"] for line in lines if line.startswith('{"status"')]
    assert status[1] is True  # TensorFlow is loaded
    return ran, status[0], result.stderr


@pytest.mark.parametrize(
    ("first_lines", "variables", "wanted"),
    [
        (PACKAGE_FIRST, {"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
        (PACKAGE_FIRST, {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        (PACKAGE_FIRST, {"TF_DISABLE_MKL": "1"}, False),
        (PACKAGE_FIRST, {"TF_DISABLE_MKL": "0"}, True),
        # What the user says to TensorFlow itself wins.
        (PACKAGE_FIRST, {"TF_DISABLE_MKL": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}, True),
        ("from sagemaker_tensorflow import mkldnn; mkldnn.disable()", {}, False),
        (
            "from sagemaker_tensorflow import mkldnn; mkldnn.enable()",
            {"TF_ENABLE_ONEDNN_OPTS": "0"},
            True,
        ),
        (
            "import os; os.environ['TF_DISABLE_MKL'] = '1'; "
            "from sagemaker_tensorflow import PipeModeDataset",
            {},
            False,
        ),
    ],
)
def test_in_time(first_lines, variables, wanted):
    ran, enabled, stderr = convolve(first_lines, **variables)
    assert ran is wanted
    assert enabled is wanted
    assert "RuntimeWarning" not in stderr


@pytest.mark.parametrize(
    ("code", "on", "instead"),
    [
        (
            "import os; os.environ['TF_DISABLE_MKL'] = '1'; import sagemaker_tensorflow",
            True,
            "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'",
        ),
        (
            "import os; os.environ['TF_DISABLE_MKL'] = '0'; import sagemaker_tensorflow",
            False,
            "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'",
        ),
        (
            "from sagemaker_tensorflow import mkldnn; mkldnn.disable()",
            True,
            "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'",
        ),
        (
            "from sagemaker_tensorflow import mkldnn; mkldnn.enable()",
            False,
            "os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'",
        ),
    ],
)
def test_too_late(code, on, instead):
    ran, enabled, stderr = convolve(
        f"import tensorflow\n{code}", TF_ENABLE_ONEDNN_OPTS=str(int(on))
    )
    assert ran is on
    assert enabled is on
    assert stderr.count("RuntimeWarning") == 1
    assert "<string>:2: RuntimeWarning: " in stderr
    assert "comes too late: TensorFlow is loaded already" in stderr
    assert instead in stderr


def test_default():
    """Says what this build is, see SAGEMAKER_TENSORFLOW_MKLDNN; ``make test-matrix`` has both."""
    by_tensorflow, _, _ = convolve(TENSORFLOW_FIRST)
    ran, enabled, _ = convolve(PACKAGE_FIRST)
    info = build_info.load()
    assert info is not None
    assert ran is (by_tensorflow if info.mkldnn else False)
    assert enabled is ran


def test_the_truth_when_tensorflows_own_variable_came_too_late():
    code = "import os, tensorflow; os.environ['TF_ENABLE_ONEDNN_OPTS'] = '0'"
    ran, enabled, stderr = convolve(code, TF_ENABLE_ONEDNN_OPTS="1")
    assert ran is True
    assert enabled is True
    assert "RuntimeWarning" not in stderr


def test_no_warning_if_it_is_as_wanted():
    _, enabled, stderr = convolve(
        "import tensorflow\nfrom sagemaker_tensorflow import mkldnn; mkldnn.disable()",
        TF_ENABLE_ONEDNN_OPTS="0",
        TF_DISABLE_MKL="1",
    )
    assert enabled is False
    assert "RuntimeWarning" not in stderr


def test_pool_allocator_too_late():
    code = "import tensorflow, sagemaker_tensorflow"
    stderr = run(code, TF_DISABLE_POOL_ALLOCATOR="1").stderr
    assert "TF_DISABLE_POOL_ALLOCATOR=1 comes too late" in stderr
    assert "os.environ['TF_ONEDNN_USE_SYSTEM_ALLOCATOR'] = '1'" in stderr
    code = f"import os; os.environ['TF_ONEDNN_USE_SYSTEM_ALLOCATOR'] = '1'; {code}"
    assert "RuntimeWarning" not in run(code, TF_DISABLE_POOL_ALLOCATOR="1").stderr


def look(*, mkldnn_of_build=True, **variables):
    """What the package's import leaves in the environment, TensorFlow not being there yet."""
    result = run(
        f"""
        import json, os, sys
        sys.modules["tensorflow"] = None
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec
        # As if built so.
        spec = PathFinder.find_spec("sagemaker_tensorflow")
        package = sys.modules["sagemaker_tensorflow"] = module_from_spec(spec)
        from sagemaker_tensorflow._op import build_info
        build_info.load = lambda: build_info.BuildInfo("", "", {mkldnn_of_build}, "")
        spec.loader.exec_module(package)
        print(json.dumps([{{n: os.environ.get(n) for n in {VARIABLES}}}, package.mkldnn.status()]))
        """,
        **variables,
    )
    environment, status = json.loads(result.stdout)
    set_by_it = {
        name: value
        for name, value in environment.items()
        if value is not None and value != variables.get(name)
    }
    return set_by_it, status, result.stderr


@pytest.mark.parametrize(
    ("mkldnn_of_build", "variables", "wanted", "enabled"),
    [
        (True, {}, {}, None),
        (False, {}, {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        (False, {"TF_ENABLE_ONEDNN_OPTS": "1"}, {}, True),
        (False, {"TF_DISABLE_MKL": "0"}, {"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
        (True, {"TF_ENABLE_ONEDNN_OPTS": "False"}, {}, False),
        (True, {"TF_ENABLE_ONEDNN_OPTS": "maybe"}, {}, None),
        (True, {"TF_DISABLE_MKL": "true"}, {"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        (True, {"TF_DISABLE_MKL": ""}, {}, None),
        (True, {"TF_DISABLE_POOL_ALLOCATOR": "1"}, {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"}, None),
        (
            True,
            {"TF_DISABLE_POOL_ALLOCATOR": "1", "TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "0"},
            {},
            None,
        ),
        (True, {"TF_DISABLE_POOL_ALLOCATOR": "0"}, {}, None),
    ],
)
def test_translation(mkldnn_of_build, variables, wanted, enabled):
    set_by_it, status, stderr = look(mkldnn_of_build=mkldnn_of_build, **variables)
    assert set_by_it == wanted
    assert status[:2] == [enabled, False]
    assert status[2]
    assert "Warning" not in stderr


def test_a_value_that_is_none():
    set_by_it, _, stderr = look(TF_DISABLE_MKL="yes")
    assert set_by_it == {}
    assert "RuntimeWarning: TF_DISABLE_MKL=yes is ignored: it is neither 0 nor 1" in stderr
