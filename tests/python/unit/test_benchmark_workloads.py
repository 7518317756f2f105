# SPDX-License-Identifier: Apache-2.0
"""The streams of the benchmark are what their names say."""

from pathlib import Path

import pytest
import tensorflow as tf
from sagemaker_tensorflow._benchmark import workloads
from sagemaker_tensorflow._benchmark.cases import CASES, ThroughputCase
from sagemaker_tensorflow.records import RecordReader

WORKLOADS = {
    case.workload.name: case.workload for case in CASES if isinstance(case, ThroughputCase)
}


def read(path, workload):
    return list(
        RecordReader(path, workload.record_format, compression_type=workload.compression_type)
    )


@pytest.fixture(params=WORKLOADS)
def workload(request):
    return WORKLOADS[request.param]


def test_a_stream(workload, tmp_path):
    stream = workloads.write(workload, str(tmp_path))
    records = read(stream.block_path, workload)
    assert len(records) == stream.block_records
    if workload.record_bytes is not None:
        assert {len(record) for record in records} == {workload.record_bytes}
    assert len(stream.file_paths) == (workload.small_files or 1)
    for path in (stream.file_paths[0], stream.file_paths[-1]):
        assert read(path, workload) == records * stream.blocks_in_file
    # Caches are no larger.
    assert stream.block_bytes * stream.blocks_in_file * len(stream.file_paths) > 32 << 20
    for blocks in (0, 1, 5, 200, 4001):
        paths = stream.paths(blocks)
        in_block = stream.block_records
        lengths = {stream.block_path: 1, **dict.fromkeys(stream.file_paths, stream.blocks_in_file)}
        assert sum(lengths[path] * in_block for path in paths) == blocks * in_block
    stored = Path(stream.block_path).stat().st_size
    assert stored * stream.compression_ratio == pytest.approx(stream.block_bytes)


def test_equal_workloads_make_equal_bytes(tmp_path):
    """Examples, and compressed."""
    paths = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        paths.append(Path(workloads.write(WORKLOADS["gzip"], str(folder)).block_path))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_gzip_has_a_realistic_ratio(tmp_path):
    stream = workloads.write(WORKLOADS["gzip"], str(tmp_path))
    assert stream.compression_ratio == pytest.approx(2.5, abs=0.1)


def test_examples(tmp_path):
    workload = WORKLOADS["examples"]
    stream = workloads.write(workload, str(tmp_path))
    records = read(stream.block_path, workload)
    assert sum(map(len, records)) / len(records) == pytest.approx(650, abs=10)
    example = tf.train.Example.FromString(records[0])
    assert sorted(example.features.feature) == workload.content.names()
    assert len(example.features.feature) == 40
