# SPDX-License-Identifier: Apache-2.0
"""The op libraries of a build: names, manifests, sources."""

import pytest
from sagemaker_tensorflow._op import op_manifest

from build import layout, op_libraries
from build.tensorflows import TensorFlow

pytestmark = pytest.mark.long

INFO = {"source_revision": "0123abc", "compiler": "GNU 12.2.0", "isal": "2.30.0"}


class FakeCMake:
    """Writes a library in place of a build."""

    def __init__(self, folder):
        self.install_dir = folder
        self.library = folder / layout.PACKAGE / "_oplib" / "pipemode_op_tf2.21.so"
        self.builds = []

    def run(self, key, options):
        self.builds.append((key, options))
        self.library.parent.mkdir(parents=True)
        self.library.write_bytes(b"a library")
        return INFO


def test_a_library_and_its_manifest(tmp_path):
    cmake = FakeCMake(tmp_path)
    tensorflow = TensorFlow(tmp_path / "tensorflow", "2.21.1")
    op_libraries.build(cmake, "key", tensorflow, ["-DX=1"])
    options = ["-DX=1", f"-DTENSORFLOW_ROOT={tensorflow.root}", "-DTENSORFLOW_MINOR=2.21"]
    assert cmake.builds == [("key", options)]
    manifest = op_manifest.read(cmake.library)
    assert manifest.tensorflow == "2.21.1"
    assert manifest.tensorflow_build is None
    assert (manifest.source_revision, manifest.compiler, manifest.isal) == tuple(INFO.values())
    assert manifest.sha256 == op_manifest.sha256_of_file(cmake.library)
    assert manifest.source_sha256 == op_manifest.sha256_of_sources(layout.SOURCE_DIR)


def test_copied_sources_are_those_of_the_manifest(tmp_path):
    """Else `build-op` would build a library that the package takes for another's."""
    target = tmp_path / "_src"
    target.mkdir()
    (target / "left by an older build").touch()
    op_libraries.copy_sources(target)
    assert {path.name for path in target.iterdir()} == {"CMakeLists.txt", "cmake", "cpp"}
    assert {path.name for path in (target / "cpp").iterdir()} == {"core", "tf"}
    expected = op_manifest.sha256_of_sources(layout.SOURCE_DIR)
    assert op_manifest.sha256_of_sources(target) == expected
