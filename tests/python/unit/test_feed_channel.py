# SPDX-License-Identifier: Apache-2.0
"""The description of a channel: what is allowed, and what is said of the rest."""

import pytest
from sagemaker_tensorflow._feed.channel import Channel, ChannelError

AUGMENTED = {"data_type": "AugmentedManifestFile", "attribute_names": ("image-ref", "label")}


@pytest.mark.parametrize(
    "uri", ["data", "/data/*.tfrecord", "file:///data", "s3://bucket", "s3://bucket/a prefix/x"]
)
def test_uris(uri):
    assert Channel("training", uri).is_s3 == uri.startswith("s3:")


def test_defaults_are_the_services():
    channel = Channel("training", "data")
    assert (channel.mode, channel.data_type, channel.distribution) == (
        "Pipe",
        "S3Prefix",
        "FullyReplicated",
    )
    assert (channel.compression, channel.record_wrapper) == ("None", "None")
    assert channel.shuffle_seed is None


def test_all_that_goes_together():
    Channel("c", "m.jsonl", **AUGMENTED, shuffle_seed=2**64 - 1, distribution="ShardedByS3Key")
    Channel("c", "x", compression="Gzip", record_wrapper="RecordIO", shuffle_seed=0)
    Channel("a.b-c_0", "m.json", mode="File", data_type="ManifestFile", content_type="text/csv")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a/b"}, "channel 'a/b': not a valid channel name"),
        ({"name": ".."}, "not a valid channel name"),
        ({"name": "x" * 65}, "not a valid channel name"),
        ({"uri": ""}, "channel 'c': '' names no data"),
        ({"uri": "s3://"}, "'s3://' names no data"),
        ({"uri": "https://bucket/key"}, "neither a local path nor a file:// or s3:// URI"),
        ({"mode": "pipe"}, "mode 'pipe' is not one of 'Pipe', 'File', 'FastFile'"),
        ({"data_type": "S3"}, "data type 'S3' is not one of 'S3Prefix', 'ManifestFile'"),
        ({"distribution": "Sharded"}, "not one of 'FullyReplicated', 'ShardedByS3Key'"),
        ({"compression": "GZIP"}, "compression 'GZIP' is not one of 'None', 'Gzip'"),
        ({"record_wrapper": "TFRecord"}, "record wrapper 'TFRecord' is not one of"),
        ({"shuffle_seed": -1}, "shuffle seed -1 is not in"),
        ({"attribute_names": ("a",)}, "go with data type 'AugmentedManifestFile' only"),
        (AUGMENTED | {"attribute_names": ()}, "needs 1 to 16 attribute names"),
        (AUGMENTED | {"attribute_names": ("a", "")}, "needs 1 to 16 attribute names"),
        (AUGMENTED | {"mode": "File"}, "an augmented manifest needs mode 'Pipe', not 'File'"),
        ({"compression": "Gzip", "mode": "File"}, "compression 'Gzip' .* needs mode 'Pipe'"),
        ({"record_wrapper": "RecordIO", "mode": "FastFile"}, "needs mode 'Pipe', not 'FastFile'"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(ChannelError, match=message):
        Channel(**({"name": "c", "uri": "data"} | fields))
