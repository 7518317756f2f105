# SPDX-License-Identifier: Apache-2.0
"""The exceptions that this package raises besides TensorFlow's own (``tf.errors``)."""


class PipeModeDatasetException(Exception):  # noqa: N818 - the predecessor's name, in users' scripts
    """The job's configuration does not fit the dataset; the message says what to change."""


class ChannelTypeError(PipeModeDatasetException, TypeError):
    """A channel is something that cannot be a name."""


class OpLibraryError(ImportError):
    """This installation has no op library that fits the TensorFlow found."""
