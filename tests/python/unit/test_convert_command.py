# SPDX-License-Identifier: Apache-2.0
"""``pipemode convert``: nothing is lost, nothing is half written, and bad input is explained."""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sagemaker_tensorflow._datatools import output
from sagemaker_tensorflow._datatools.example import Feature, parse_example
from sagemaker_tensorflow.cli import app
from sagemaker_tensorflow.records import RecordReader, encode
from typer.testing import CliRunner

COMMAND = [sys.executable, "-m", "sagemaker_tensorflow", "convert"]
FORMATS = {"tfrecord": "TFRecord", "recordio": "RecordIO", "text": "TextLine"}
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0"


def convert(*arguments, status=0):
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def refused(*arguments, status=1):
    """What is said of arguments that do not work; nothing may be there afterwards."""
    folder = next(parent for parent in arguments[-1].parents if parent.is_dir())
    before = sorted(folder.rglob("*"))
    stderr = convert(*arguments, status=status).stderr
    assert sorted(folder.rglob("*")) == before
    return stderr


def read(path, record_format="TFRecord"):
    compression = "GZIP" if path.suffix == ".gz" else None
    return list(RecordReader(path, record_format, compression_type=compression))


def examples(path):
    return [
        {name: list(feature.first) for name, feature in parse_example(record).items()}
        for record in read(path)
    ]


def write_records(path, records, record_format="TFRecord"):
    path.write_bytes(b"".join(encode(record, record_format) for record in records))
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder that is to hold only what is written on purpose."""
    path = tmp_path / "out"
    path.mkdir()
    return path


# --- Records to records ---------------------------------------------------------------------------

ROUND_TRIP = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ROUND_TRIP
@given(
    st.lists(st.binary(min_size=1, max_size=2000).map(lambda data: data.replace(b"\n", b"-"))),
    st.permutations(["tfrecord", "recordio", "text"]),
    st.booleans(),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 1, 4]),
    st.sampled_from([None, 7]),
)
def test_there_and_back(tmp_path, records, formats, compress, shards, per_shard, seed):
    # Text, unlike the others, is recognised only if it looks like text.
    records = [record.hex().encode() for record in records]
    first, second, third = formats
    source = write_records(tmp_path / "source", records, FORMATS[first])
    middle, end = tmp_path / "middle", tmp_path / "end"
    options = ["--gzip"] if compress else []
    options += ["--shuffle-seed", seed] if seed is not None else []
    if shards:
        options += ["--shards", shards]
    elif per_shard:
        options += ["--records-per-shard", per_shard]
    convert(source, middle, "--to", second, "--force", *options)
    files = sorted(middle.iterdir()) if middle.is_dir() else [middle]
    parts = [
        list(RecordReader(path, FORMATS[second], compression_type="GZIP" if compress else None))
        for path in files
    ]
    if shards:
        assert len(files) == shards
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    elif per_shard:
        assert [len(part) for part in parts[:-1]] == [per_shard] * (len(parts) - 1)
        assert len(parts) == max(1, -(-len(records) // per_shard))
    together = [record for part in parts for record in part]
    assert sorted(together) == sorted(records)
    if seed is None and not shards:
        assert together == records
    elif seed is None:  # dealt out in turn
        assert parts == [records[number::shards] for number in range(shards)]
    convert(middle, end, "--to", third, "--force")
    assert read(end, FORMATS[third]) == together
    for path in files:
        path.unlink()
    if middle.is_dir():
        middle.rmdir()


def test_a_seed_makes_an_order(tmp_path, folder):
    records = [b"%03d" % n for n in range(200)]
    source = write_records(tmp_path / "source", records)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        convert(source, folder / name, "--to", "tfrecord", "--shuffle-seed", seed)
    a, b, c = (read(folder / name) for name in "abc")
    assert a == b != c != records != a


def test_many_inputs_in_many_encodings(tmp_path, folder):
    write_records(tmp_path / "1", [b"one"], "RecordIO")
    (tmp_path / "2").write_bytes(gzip.compress(encode(b"two", "TFRecord")))
    (tmp_path / "3").write_bytes(zlib.compress(b"three\nthree and a half"))
    (tmp_path / "4").touch()
    (tmp_path / "5").write_bytes(gzip.compress(b"", mtime=0))
    convert(*(tmp_path / str(n) for n in range(1, 6)), folder / "all.tfrecord")
    assert read(folder / "all.tfrecord") == [b"one", b"two", b"three", b"three and a half"]


def test_what_mxnet_wrote(tmp_path, folder):
    record = b"abcd\x0a\x23\xd7\xceefgh"  # the magic number, which dmlc's writer drops
    (tmp_path / "x.rec").write_bytes(encode(record, recordio_parts="dmlc"))
    convert(tmp_path / "x.rec", folder / "x.tfrecord", "--recordio-parts", "dmlc")
    assert read(folder / "x.tfrecord") == [record]


def test_long_records_and_many(tmp_path, folder):
    """More than one batch, by bytes and by number."""
    records = [bytes([n]) * (3 << 20) for n in range(5)] + [b"short"] * 100_000
    source = write_records(tmp_path / "source", records)
    convert(source, folder / "a.recordio.gz")
    assert read(folder / "a.recordio.gz", "RecordIO") == records
    convert(source, folder / "shards", "--to", "tfrecord", "--shards", 2, "--gzip")
    for number in range(2):
        path = folder / "shards" / f"part-0000{number}-of-00002.tfrecord.gz"
        assert read(path) == records[number::2]


# --- CSV ------------------------------------------------------------------------------------------

CELL = {
    "int": st.integers(-(1 << 63), (1 << 63) - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "string": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
}


@st.composite
def csv_tables(draw):
    types = draw(
        st.dictionaries(
            st.text(
                st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1, max_size=5
            ),
            st.sampled_from(list(CELL)),
            min_size=2,
            max_size=4,
        )
    )
    row = st.tuples(*(st.none() | CELL[type_] for type_ in types.values()))
    return types, draw(st.lists(row, max_size=10))


@ROUND_TRIP
@given(csv_tables())
def test_csv(tmp_path, table):
    types, rows = table
    source = tmp_path / "table.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(types)
        # A blank line is no row, so it must not be all that is left of one.
        writer.writerows(rows)
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(types))
    target = tmp_path / "table.tfrecord"
    convert(source, target, "--schema", schema, "--force")
    assert examples(target) == [
        {
            name: [value.encode() if type_ == "string" else value]
            for (name, type_), value in zip(types.items(), row, strict=True)
            if value not in (None, "")
        }
        for row in rows
    ]


def convert_csv(tmp_path, text, *options, name="table.csv"):
    source = tmp_path / name
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = convert(source, tmp_path / "table.tfrecord", "--force", *options)
    return examples(tmp_path / "table.tfrecord"), result


def test_types_are_found_out(tmp_path):
    text = (
        "i,f,s,zip,long,none\n"
        "1,1,a,01234,99999999999999999999,\n"
        "-2,.5e1,2,56789,1,NA\n"
        "NA,nan,,,2,\n"
    )
    found, result = convert_csv(tmp_path, text)
    assert "i int, f float, s string, zip string, long string, none int" in result.stdout
    assert found == [
        {"i": [1], "f": [1.0], "s": [b"a"], "zip": [b"01234"], "long": [b"9" * 20]},
        {"i": [-2], "f": [5.0], "s": [b"2"], "zip": [b"56789"], "long": [b"1"]},
        {"long": [b"2"]},
    ]


@pytest.mark.parametrize(
    ("late", "types"),
    [
        (["7", "7"], "a int, b int"),
        (["1.5", "7"], "a float, b int"),
        (["007", "1_0"], "a string, b string"),
        (["x", "1e3"], "a string, b float"),
        (["7", "99999999999999999999"], "a int, b string"),
        (["1e300", "7"], "a string, b int"),
    ],
)
def test_types_that_only_later_rows_show(tmp_path, late, types):
    rows = "1,2\n" * 6_000
    found, result = convert_csv(tmp_path, f"a,b\n{rows}{','.join(late)}\n{rows}")
    assert f"columns: {types}" in result.stdout
    assert len(found) == 12_001
    expected = [
        late[n].encode() if t.endswith("string") else float(late[n])
        for n, t in enumerate(types.split(", "))
    ]
    assert [found[6_000][name][0] for name in "ab"] == expected
    restarted = types != "a int, b int"
    assert ("beginning again" in result.stderr) == restarted


def test_options_for_csv(tmp_path):
    text = "1;x;?\n2;y;3\n"
    options = ["--delimiter", ";", "--columns", "a,b,c", "--type", "b=skip", "--missing", "?"]
    found, _ = convert_csv(tmp_path, text, *options, "--type", "a=string")
    assert found == [{"a": [b"1"]}, {"a": [b"2"], "c": [3]}]
    found, _ = convert_csv(tmp_path, "a\tb\r\n1\t2\r\n", name="table.tsv")
    assert found == [{"a": [1], "b": [2]}]
    found, _ = convert_csv(tmp_path, gzip.compress(b"\xef\xbb\xbfa\n5\n"), name="table.csv.gz")
    assert found == [{"a": [5]}]


def test_a_single_column_that_looks_like_several(tmp_path):
    assert convert_csv(tmp_path, "a;b\n1;2\n", "--delimiter", ",")[0] == [{"a;b": [b"1;2"]}]


def test_csv_to_lines(tmp_path):
    source = tmp_path / "table.csv"
    source.write_text('a,b\n1,"x, ""y"""\n2,z\n')
    convert(source, tmp_path / "table.txt")
    assert (tmp_path / "table.txt").read_text() == '1,"x, ""y"""\n2,z\n'
    source.write_text('a,b\n1,x\n2,"two\nlines"\n')
    stderr = refused(source, tmp_path / "lines.txt")
    assert "record 1 holds a newline" in stderr


def test_several_csv_files(tmp_path, folder):
    for number in range(2):
        (tmp_path / f"{number}.csv").write_text(f"a,b\n{number},x\n")
    convert(tmp_path / "*.csv", folder / "t.tfrecord")
    assert [row["a"] for row in examples(folder / "t.tfrecord")] == [[0], [1]]
    (tmp_path / "1.csv").write_text("b,a\nx,1\n")
    assert "another header" in refused(tmp_path / "*.csv", folder / "u.tfrecord")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1\n", [], "row 1 has 1 fields, and the header 2"),
        ("a,a\n1,2\n", [], "two columns of the name 'a'"),
        ("a,b\n1,2\n", ["--type", "c=int"], "no column 'c'; it has 'a', 'b'"),
        ("a\nx\n", ["--type", "a=int"], "row 1, column 'a': 'x' is no int"),
        ("a\n1\n99999999999999999999\n", ["--type", "a=int"], "row 2, column 'a'"),
        ('a\n"x\n', [], "unexpected end of data"),
        (b"a\n\xff\xfe\n", [], "line 2: not UTF-8"),
        (b"a\n" + b"b\n" * 9000 + b"\xff\n", [], "line 9002: not UTF-8"),
        (gzip.compress(b"a\n" * 9000 + b"\xff", mtime=0), [], "line 9001: not UTF-8"),
        ("a;b\n1;2\n", [], "has a single column, 'a;b': say --delimiter ';', or --delimiter ','"),
        ("a,b\n1,2\n", ["--type", "a=raw"], "--type 'a=raw' is for NumPy arrays"),
        ("a\n1\n", ["--type", "a=skip"], "nothing is left"),
        (gzip.compress(b"a\n1\n" * 1000, mtime=0)[:-9], [], "end-of-stream"),
    ],
)
def test_bad_csv(tmp_path, folder, text, options, message):
    source = tmp_path / "table.csv"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    stderr = refused(source, *options, folder / "table.tfrecord")
    assert message in stderr
    assert "nothing was written" in stderr


# --- NumPy ----------------------------------------------------------------------------------------

DTYPES = st.sampled_from(
    ["?", "i1", "<i4", ">i8", "u2", "<f4", ">f4", "f2", "S3", "U2", "u1"]
) | st.just("<i8")


@ROUND_TRIP
@given(
    DTYPES.flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(max_dims=3, max_side=4, min_side=0),
            elements={"allow_nan": False} if "f" in dtype else None,
        )
    ),
    st.booleans(),
    st.sampled_from(["npy", "npz"]),
)
def test_arrays(tmp_path, array, fortran, suffix):
    source, target = tmp_path / f"x.{suffix}", tmp_path / "x.tfrecord"
    array = np.asfortranarray(array) if fortran else array
    if suffix == "npy":
        np.save(source, array)
    else:
        np.savez_compressed(source, x=array, n=np.arange(len(array)))
    convert(source, target, "--force")
    records = [parse_example(record).get("x") for record in read(target)]
    assert len(records) == len(array)
    for record, row in zip(records, array, strict=True):
        if array.dtype == np.uint8 and array.ndim > 1:
            assert record == Feature("bytes", 1, (row.tobytes(),))
            continue
        values = row.reshape(-1).tolist()
        kind = {"f": "float", "S": "bytes", "U": "bytes"}.get(array.dtype.kind, "int64")
        if array.dtype.kind == "U":
            values = [value.encode() for value in values]
        assert record == (Feature(kind, len(values), tuple(values[:8])) if values else None)


def test_what_arrays_are_to_become(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        image=np.arange(12, dtype=np.uint8).reshape(2, 6),
        big=np.array([[1, 2], [3, 4]], dtype=">i2"),
        other=np.zeros(7),
    )
    result = convert(
        tmp_path / "x.npz",
        tmp_path / "x.tfrecord",
        *("--type", "image=int", "--type", "big=raw", "--type", "other=skip"),
    )
    first, second = examples(tmp_path / "x.tfrecord")
    assert first == {"image": [0, 1, 2, 3, 4, 5], "big": [b"\1\0\2\0"]}
    assert second["big"] == [b"\3\0\4\0"]
    assert "tf.io.decode_raw(x, tf.int16), [-1, 2]" in result.stdout


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, [], "'a' 2, 'b' 3"),
        ({"a": np.float64(1)}, [], "no dimension"),
        ({"a": np.zeros(2, complex)}, [], "of type complex128"),
        ({"a": np.array([{}, 1])}, [], "of type object"),
        ({"a": np.array([1 << 63], np.uint64)}, [], "too large for int64"),
        ({"a": np.array([1e300])}, [], "too large for float32"),
        ({"a": np.array(["x"])}, ["--type", "a=float"], "'a' cannot become float"),
        ({"a": np.zeros(2)}, ["--type", "b=int"], "no array ['b']; it has ['a']"),
    ],
)
def test_bad_arrays(tmp_path, folder, arrays, options, message):
    np.savez(tmp_path / "x.npz", **arrays)
    assert message in refused(tmp_path / "x.npz", *options, folder / "x.tfrecord")


def test_a_truncated_array(tmp_path, folder):
    np.save(tmp_path / "x.npy", np.zeros((100, 100)))
    data = (tmp_path / "x.npy").read_bytes()
    for size in (0, 5, 60, len(data) - 1):
        (tmp_path / "x.npy").write_bytes(data[:size])
        assert "x.npy'" in refused(tmp_path / "x.npy", folder / "x.tfrecord")


# --- Images ---------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images"
    for name, data in {
        "cat/1.jpg": JPEG + b"cat 1",
        "cat/deep/2.jpg": JPEG + b"cat 2",
        "cat/notes.txt": b"no image",
        "dog/1.png": PNG + b"dog",
        "empty/notes.txt": b"no image",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_images(images, folder):
    result = convert(images, folder / "x.tfrecord")
    assert examples(folder / "x.tfrecord") == [
        {"image": [JPEG + b"cat 1"], "label": [0], "filename": [b"cat/1.jpg"]},
        {"image": [JPEG + b"cat 2"], "label": [0], "filename": [b"cat/deep/2.jpg"]},
        {"image": [PNG + b"dog"], "label": [1], "filename": [b"dog/1.png"]},
    ]
    assert "labels: 0 cat, 1 dog" in result.stdout
    assert "2 files hold no image" in result.stdout


def test_images_beside_what_people_and_their_tools_leave(images, folder):
    """Before them, too: what an input is, is found out from the files in their order."""
    for name in (".DS_Store", "README.md", "cat/.DS_Store", "cat/._1.jpg", ".hidden/cat.jpg"):
        (images / name).parent.mkdir(exist_ok=True)
        (images / name).write_bytes(JPEG if name.endswith(".jpg") else b"text")
    result = convert(images, folder / "x.tfrecord")
    labels = [row["filename"] for row in examples(folder / "x.tfrecord")]
    assert labels == [[b"cat/1.jpg"], [b"cat/deep/2.jpg"], [b"dog/1.png"]]
    assert "labels: 0 cat, 1 dog" in result.stdout
    write_records(images / "dog" / "records", [b"one"])
    assert "say --from images or records" in refused(images, folder / "y.tfrecord")


def test_labels_of_images(images, folder, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("bird\ndog\n\ncat\n")
    convert(images, folder / "x.tfrecord", "--labels", labels)
    assert [row["label"] for row in examples(folder / "x.tfrecord")] == [[2], [2], [1]]
    labels.write_text("dog\n")
    assert "does not name the class 'cat'" in refused(
        images, "--labels", labels, folder / "y.tfrecord"
    )


def test_folders_that_hold_no_classes(images, folder):
    (images / "loose.png").write_bytes(PNG)
    assert "loose.png' is in no class" in refused(images, folder / "x.tfrecord")
    empty = images / "empty"
    assert "no image" in refused(empty, "--from", "images", folder / "x.tfrecord")


# --- What is refused, and what is left ------------------------------------------------------------


def test_damaged_records_stop_everything(tmp_path, folder):
    source = write_records(tmp_path / "source", [b"record"] * 100)
    source.write_bytes(source.read_bytes()[:-1])
    for options in ([], ["--gzip"], ["--shuffle-seed", 1]):
        stderr = refused(source, *options, folder / "x.tfrecord")
        assert "record 99 at byte" in stderr
        assert "nothing was written" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.tfrecord"], "already: add --force"),
        (["x.tfrecord/y.tfrecord"], "is no folder"),
        (["shards"], "is a folder: name a file in it"),
        (["x.tfrecord", "--shards", "2"], "is a file, and shards go into a folder"),
        (["others", "--shards", "2", "--force"], "also holds 'mine'"),
        (["fifo", "--force"], "neither a file nor a folder"),
    ],
)
def test_what_is_there_stays(tmp_path, arguments, message):
    source = write_records(tmp_path / "source", [b"record"])
    (tmp_path / "x.tfrecord").write_bytes(b"mine")
    for name in ("shards", "others"):
        (tmp_path / name).mkdir()
    (tmp_path / "others" / "mine").touch()
    os.mkfifo(tmp_path / "fifo")
    target, *options = arguments
    stderr = refused(source, "--to", "tfrecord", *options, tmp_path / target)
    assert message in stderr
    assert (tmp_path / "x.tfrecord").read_bytes() == b"mine"


def test_folders_on_the_way_are_made(tmp_path):
    source = write_records(tmp_path / "source", [b"one"])
    convert(source, tmp_path / "a" / "b" / "x.tfrecord")
    assert read(tmp_path / "a" / "b" / "x.tfrecord") == [b"one"]
    source.write_bytes(b"\0damaged")
    refused(source, tmp_path / "c" / "d" / "x.tfrecord")
    refused(source, tmp_path / "a" / "d" / "x.tfrecord")


def test_force_replaces(tmp_path, folder):
    source = write_records(tmp_path / "source", [b"one", b"two", b"three"])
    convert(source, folder / "x", "--to", "tfrecord", "--shards", 3)
    convert(source, folder / "x", "--to", "recordio", "--shards", 2, "--force")
    assert [path.name for path in sorted((folder / "x").iterdir())] == [
        "part-00000-of-00002.recordio",
        "part-00001-of-00002.recordio",
    ]
    # Even what it is made of.
    convert(source, source, "--to", "text", "--force")
    assert source.read_bytes() == b"one\ntwo\nthree\n"


def test_shards_that_cannot_be_replaced_stay(tmp_path, folder, monkeypatch):
    source = write_records(tmp_path / "source", [b"one"])
    convert(source, folder / "x", "--to", "tfrecord", "--shards", 1)
    rename = output.Path.rename

    def fail_for_new(path, target):
        if path.name == "shards":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(output.Path, "rename", fail_for_new)
    options = ["--to", "tfrecord", "--shards", 1, "--force"]
    assert "Input/output error" in refused(source, *options, folder / "x")


def test_modes_are_those_of_any_other_file(tmp_path):
    source = write_records(tmp_path / "source", [b"one"])
    before = os.umask(0o027)
    try:
        convert(source, tmp_path / "x.tfrecord")
        convert(source, tmp_path / "x", "--to", "tfrecord", "--shards", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "x.tfrecord").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x"], "does not tell what to write"),
        (["x.tfrecord", "--shards", "2", "--records-per-shard", "2"], "one of"),
        (["x.tfrecord", "--type", "a"], "NAME=TYPE"),
        (["x.tfrecord", "--type", "a=integer"], "int, float, string"),
        (["x.tfrecord", "--delimiter", "ab"], "a single character"),
        (["s3://bucket/x.tfrecord"], "is no local path"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, monkeypatch, arguments, message):
    source = write_records(tmp_path / "source", [b"one"])
    target, *options = arguments
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    words = " ".join(convert(source, *options, target, status=2).stderr.split())
    assert message in words.replace("│ ", "")
    assert sorted(tmp_path.rglob("*")) == before


def test_output_may_be_a_file_uri(tmp_path, monkeypatch):
    source = write_records(tmp_path / "source", [b"one"])
    monkeypatch.chdir(tmp_path)
    convert(source, "file://x.tfrecord")
    convert(source, f"file://{tmp_path}/y.tfrecord")
    assert read(tmp_path / "x.tfrecord") == read(tmp_path / "y.tfrecord") == [b"one"]
    assert not (tmp_path / "file:").exists()


def test_options_without_effect_are_mistakes(tmp_path, folder):
    source = write_records(tmp_path / "source", [b"one"])
    for options in (["--type", "a=int"], ["--missing", "x"], ["--columns", "a"]):
        assert "the input is taken for records" in refused(source, *options, folder / "x.tfrecord")


def test_arrays_and_images_are_no_lines(tmp_path, folder, images):
    np.save(tmp_path / "x.npy", np.zeros(3))
    for source in (tmp_path / "x.npy", images):
        assert "cannot become lines of text" in refused(source, folder / "x.txt")


def test_a_full_disk(tmp_path, folder, monkeypatch):
    source = write_records(tmp_path / "source", [b"record"] * 100)

    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output.os, "fsync", fail)
    assert "No space left on device" in refused(source, folder / "x.tfrecord")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("options", [["--gzip"], ["--shuffle-seed", "1"], ["--shards", "5"]])
def test_an_interrupted_conversion_leaves_nothing(tmp_path, folder, number, options):
    """The input is a FIFO that does not end, so it is always interrupted in the midst."""
    source = tmp_path / "fifo"
    os.mkfifo(source)
    target = folder / ("x" if options[0] == "--shards" else "x.tfrecord")
    process = subprocess.Popen(
        [*COMMAND, str(source), str(target), "--to", "tfrecord", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with source.open("wb") as fifo:
            for _ in range(100):
                fifo.write(encode(b"record", "TFRecord") * 10_000)
            assert list(folder.iterdir()) != []
            process.send_signal(number)
            _, stderr = process.communicate(timeout=30)
    except BrokenPipeError:
        _, stderr = process.communicate(timeout=30)
        raise AssertionError(stderr) from None
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "nothing was written" in stderr
    assert list(folder.iterdir()) == []


def test_memory_is_bounded(tmp_path, folder):
    """150 MB in, at most a small part of that in memory."""
    source = tmp_path / "source"
    piece = encode(os.urandom(1000), "TFRecord") * 10_000
    with source.open("wb") as file:
        for _ in range(15):
            file.write(piece)
    code = (
        "import pathlib, re, sys; from sagemaker_tensorflow.cli import app\n"
        "from sagemaker_tensorflow._datatools import shuffle\n"
        "shuffle.shuffled.__defaults__ = (8 << 20,)\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        # Not ru_maxrss, which begins with that of the parent.
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])"
    )

    def peak(*options):
        arguments = ["convert", source, folder / "x", "--to", "recordio", "--force", *options]
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
        )
        return int(done.stdout.splitlines()[-1]) >> 10

    for options in (["--shards", 4], ["--shards", 4, "--shuffle-seed", 1]):
        assert peak(*options) < 140


def test_progress_and_summary(tmp_path):
    source = write_records(tmp_path / "source", [b"record"] * 5)
    stdout = convert(source, tmp_path / "x", "--to", "tfrecord", "--shards", 2).stdout
    assert "5 records, 110 bytes in 2 files of 2 to 3 records" in stdout
    result = convert(source, tmp_path / "y", "--to", "tfrecord", "--shards", 9)
    assert "more shards than records" in result.stderr


def test_csv_module_quirks():
    """What test_csv relies on: a row of one empty field is not written as a blank line."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(["", ""])
    assert file.getvalue() == ",\n"
