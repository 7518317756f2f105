# SPDX-License-Identifier: Apache-2.0
"""The manifests beside the op libraries that the package carries."""

import re

import pytest
import tensorflow as tf
from sagemaker_tensorflow._op import build_info, op_library, op_manifest

MINOR = ".".join(tf.__version__.split(".")[:2])


@pytest.mark.parametrize("minor", op_library.carried_minors())
def test_manifest(minor):
    library = op_library.carried(minor)
    if minor != MINOR and not op_manifest.path_of(library).exists():
        pytest.skip("left in a checkout by a build for another TensorFlow")
    manifest = op_manifest.read(library)
    assert manifest.tensorflow.startswith(f"{minor}.")
    assert manifest.sha256 == op_manifest.sha256_of_file(library)
    assert re.fullmatch(r"[0-9a-f]{64}", manifest.source_sha256)
    assert manifest.compiler
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest.isal)


def test_it_is_of_the_same_commit_as_the_package():
    info = build_info.load()
    assert info is not None
    assert op_manifest.read(op_library.carried(MINOR)).source_revision == info.source_revision
