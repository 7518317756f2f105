# SPDX-License-Identifier: Apache-2.0
"""What is loaded when, and what is said of what cannot be loaded."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.long


def run(code):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def test_the_package_imports_nothing_heavy():
    run("""
        import sys
        import sagemaker_tensorflow
        assert sagemaker_tensorflow.__version__
        assert set(sagemaker_tensorflow.__all__) <= set(dir(sagemaker_tensorflow))
        heavy = {"tensorflow", "numpy", "sagemaker_tensorflow._native"} & sys.modules.keys()
        assert not heavy, heavy
    """)


def test_records_and_testing_import_no_tensorflow():
    run("""
        import sys
        import sagemaker_tensorflow.records, sagemaker_tensorflow.testing
        from sagemaker_tensorflow import PipeModeDatasetException
        assert "tensorflow" not in sys.modules
    """)


def test_the_op_library_loads_on_first_use(job):
    run("""
        import sys
        from sagemaker_tensorflow import PipeModeDataset

        def loaded():
            with open("/proc/self/maps") as maps:
                return "pipemode_op_tf" in maps.read()

        assert "tensorflow" in sys.modules
        assert not loaded()
        PipeModeDataset("training")
        assert loaded()
    """)


def test_no_such_name():
    import sagemaker_tensorflow

    with pytest.raises(AttributeError, match="'sagemaker_tensorflow' has no attribute 'Dataset'"):
        _ = sagemaker_tensorflow.Dataset


@pytest.mark.parametrize(
    "statement",
    [
        "from sagemaker_tensorflow import PipeModeDataset",
        "from sagemaker_tensorflow.pipemode import PipeModeDataset",
        "import sagemaker_tensorflow; sagemaker_tensorflow.PipeModeDataset",
        "from sagemaker_tensorflow import PipeModeCheckpoint",
        "from sagemaker_tensorflow import PipeModeMetrics",
        "from sagemaker_tensorflow import channel_dataset",
        "from sagemaker_tensorflow import channel_stats; channel_stats('training')",
    ],
)
def test_no_tensorflow(statement):
    message = run(f"""
        import sys
        sys.modules["tensorflow"] = None  # cannot be imported
        try:
            {statement}
        except ImportError as error:
            print(type(error).__name__, error)
    """)
    assert message.startswith("OpLibraryError TensorFlow cannot be imported: ModuleNotFoundError: ")
    assert "pip install tensorflow" in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("raise TypeError('Descriptors cannot be created directly')", "TypeError: Descriptors"),
        # What an uninstallation leaves: a folder with nothing of TensorFlow's in it.
        (None, "AttributeError: module 'tensorflow' has no attribute 'version'"),
    ],
)
def test_a_tensorflow_that_is_broken(tmp_path, content, problem):
    if content is None:
        (tmp_path / "tensorflow").mkdir()
        (tmp_path / "tensorflow" / "__init__.py").touch()
    else:
        (tmp_path / "tensorflow.py").write_text(content)
    message = run(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        try:
            from sagemaker_tensorflow import PipeModeDataset
        except ImportError as error:
            print(type(error).__name__, error)
    """)
    assert message.startswith(f"OpLibraryError TensorFlow cannot be imported: {problem}")
