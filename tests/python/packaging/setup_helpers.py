# SPDX-License-Identifier: Apache-2.0
"""What the tests of ``tools/build`` share."""

BUILD_FOR = "SAGEMAKER_TENSORFLOW_BUILD_FOR"


def make_tensorflow(folder, version="2.21.0"):
    """A site-packages with a TensorFlow, as far as a build looks at it."""
    package = folder / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    metadata = folder / f"tensorflow_cpu-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: tensorflow-cpu\nVersion: {version}\n")
    (metadata / "RECORD").write_text("tensorflow/__init__.py,,\n")
    return package
