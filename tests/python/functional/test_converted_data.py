# SPDX-License-Identifier: Apache-2.0
"""What ``pipemode convert`` writes is read by tf.data's own readers, and from a channel."""

import gzip

import numpy as np
import pytest
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset
from sagemaker_tensorflow.cli import app
from typer.testing import CliRunner


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def arrays(tmp_path):
    random = np.random.default_rng(0)
    values = {
        "image": random.integers(0, 256, (500, 8, 8), dtype=np.uint8),
        "label": np.arange(500) % 10,
        "weight": random.normal(size=(500, 3)).astype(np.float32),
    }
    np.savez(tmp_path / "data.npz", **values)
    return values


def check(parsed, arrays):
    images = tf.reshape(tf.io.decode_raw(parsed["image"], tf.uint8), [-1, 8, 8])
    np.testing.assert_array_equal(images, arrays["image"])
    np.testing.assert_array_equal(parsed["label"], arrays["label"])
    np.testing.assert_array_equal(parsed["weight"], arrays["weight"])


@pytest.mark.parametrize("compress", [False, True])
def test_tensorflow_reads_what_was_written(tmp_path, arrays, compress):
    target = tmp_path / ("data.tfrecord.gz" if compress else "data.tfrecord")
    run("convert", tmp_path / "data.npz", target)
    namespace = {"tf": tf}
    exec(spec_in(run("inspect", target)), namespace)
    records = tf.data.TFRecordDataset(str(target), "GZIP" if compress else None).batch(500)
    (batch,) = list(records)
    check(tf.io.parse_example(batch, namespace["FEATURES"]), arrays)


def spec_in(text):
    begin = text.index("FEATURES = {")
    return text[begin : text.index("\n}\n", begin) + 2]


@pytest.mark.parametrize("target", ["tfrecord", "recordio"])
@pytest.mark.parametrize("compress", [False, True])
def test_a_channel_is_read_by_the_code_that_inspect_prints(
    tmp_path, arrays, serve, target, compress
):
    folder = tmp_path / "shards"
    options = ["--records-per-shard", 123, *(["--gzip"] if compress else [])]
    run("convert", tmp_path / "data.npz", folder, "--to", target, *options)
    objects = [path.read_bytes() for path in sorted(folder.iterdir())]
    assert len(objects) == 5
    stdout = run("inspect", folder)
    code = stdout[stdout.index("import tensorflow") :]
    with serve({"training": [b"".join(objects)]}):
        namespace = {}
        exec(code.replace("batch(64)", "batch(500)"), namespace)
        (parsed,) = list(namespace["ds"])
    check(parsed, arrays)


def test_lines_from_csv(tmp_path, serve):
    rows = [b"%d,x%d" % (n, n) for n in range(1000)]
    (tmp_path / "t.csv").write_bytes(b"\n".join([b"a,b", *rows]))
    run("convert", tmp_path / "t.csv", tmp_path / "t.txt.gz")
    assert (
        list(tf.data.TextLineDataset(str(tmp_path / "t.txt.gz"), "GZIP").as_numpy_iterator())
        == rows
    )
    stream = gzip.decompress((tmp_path / "t.txt.gz").read_bytes())
    with serve({"training": [stream]}):
        ds = PipeModeDataset("training", "TextLine").batch(1000)
        ids, _ = tf.io.decode_csv(next(iter(ds)), [0, ""])
    assert ids.numpy().tolist() == list(range(1000))


def test_images_are_decoded(tmp_path):
    for number, color in enumerate(("0-red", "1-green")):
        (tmp_path / "images" / color).mkdir(parents=True)
        picture = np.zeros((4, 5, 3), np.uint8)
        picture[..., number] = 255
        path = tmp_path / "images" / color / "one.png"
        path.write_bytes(tf.io.encode_png(picture).numpy())
    target = tmp_path / "images.tfrecord"
    run("convert", tmp_path / "images", target)
    namespace = {"tf": tf}
    exec(spec_in(run("inspect", target)), namespace)
    for record in tf.data.TFRecordDataset(str(target)):
        parsed = tf.io.parse_single_example(record, namespace["FEATURES"])
        picture = tf.io.decode_image(parsed["image"])
        assert picture.shape == (4, 5, 3)
        assert picture[0, 0, int(parsed["label"])] == 255
