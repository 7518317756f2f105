# SPDX-License-Identifier: Apache-2.0
"""The bytes that encode() makes, the exception classes, what the module says of itself."""

import ast
import inspect
import pickle
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagemaker_tensorflow import _native, records
from sagemaker_tensorflow._formats.stream_encoder import StreamEncoder
from sagemaker_tensorflow.records import encode


def test_tfrecord_bytes():
    # As tf.io.TFRecordWriter writes them.
    assert encode(b"", "TFRecord").hex() == "000000000000000029039807d8ea82a2"
    assert encode(b"hello", "tfrecord").hex() == (
        "0500000000000000" "eab2043e" "68656c6c6f" "bb1f1c19"
    )  # fmt: skip


def test_recordio_bytes():
    assert encode(b"").hex() == "0a23d7ce00000000"
    assert encode(b"abcde").hex() == "0a23d7ce050000006162636465000000"
    assert encode(b"abcde", recordio_max_part_bytes=2).hex() == (
        "0a23d7ce" "02000020" "61620000"
        "0a23d7ce" "02000040" "63640000"
        "0a23d7ce" "01000060" "65000000"
    )  # fmt: skip
    magic = b"\x0a\x23\xd7\xce"
    assert encode(b"abcd" + magic + b"e", recordio_parts="dmlc").hex() == (
        "0a23d7ce04000020616263640a23d7ce0100006065000000"
    )


def test_text_line_bytes():
    assert encode(b"abc", "TextLine") == b"abc\n"
    assert encode(b"\r", "TextLine") == b"\r\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"", "CSV"), "'RecordIO', 'TFRecord', 'TextLine'"),
        ((b"a\nb", "TextLine"), "newline"),
    ],
)
def test_what_cannot_be_encoded(arguments, message):
    with pytest.raises(records.InvalidArgumentError, match=message):
        encode(*arguments)


def test_only_bytes_are_encoded():
    with pytest.raises(TypeError, match="bytes-like"):
        encode("text")
    assert encode(memoryview(b"a"), "TextLine") == encode(bytearray(b"a"), "TextLine") == b"a\n"


@given(st.lists(st.binary(max_size=100)), st.sampled_from(["GZIP", "zlib", "", None]))
def test_stream_encoder(data, compression):
    encoder = StreamEncoder("RecordIO", compression_type=compression)
    stream = b"".join([encoder.encode(record) for record in data]) + encoder.finish()
    if compression:
        stream = zlib.decompress(stream, wbits=47)  # zlib or gzip
    assert stream == b"".join(map(encode, data))


ERRORS = [
    (records.DataLossError, []),
    (records.CorruptRecordError, [records.DataLossError]),
    (records.CancelledError, []),
    (records.DeadlineExceededError, [TimeoutError, OSError]),
    (records.InvalidArgumentError, [ValueError]),
    (records.FailedPreconditionError, []),
    (records.NotFoundError, [FileNotFoundError, OSError]),
    (records.PermissionDeniedError, [PermissionError, OSError]),
    (records.ResourceExhaustedError, [OSError]),
    (records.UnavailableError, [OSError]),
    (records.InternalError, [OSError]),
]


@pytest.mark.parametrize(("error", "bases"), ERRORS)
def test_errors(error, bases):
    for base in [records.PipeError, *bases]:
        assert issubclass(error, base)
    assert not issubclass(error, ValueError | OSError) or bases
    assert error.__module__ == "sagemaker_tensorflow.records"
    assert inspect.getdoc(error)
    copy = pickle.loads(pickle.dumps(error("message")))
    assert type(copy) is error
    assert str(copy) == "message"


def test_every_error_of_the_core_is_public():
    native = {
        name
        for name, value in vars(_native).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert native == {error.__name__ for error, _ in ERRORS} | {"PipeError"}
    assert native <= set(records.__all__)


@pytest.mark.parametrize("name", records.__all__)
def test_every_public_name_is_described(name):
    public = getattr(records, name)
    assert inspect.getdoc(public)
    if isinstance(public, type) and not issubclass(public, Exception):
        for attribute, value in inspect.getmembers(public):
            assert attribute.startswith("_") or inspect.getdoc(value), attribute


def test_the_stub_has_the_names_of_the_module():
    def public(names):
        return {name for name in names if not name.startswith("_")}

    stub = ast.parse((Path(records.__file__).parent / "_native.pyi").read_text())
    defined = {
        node.name: node for node in stub.body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    assert public(vars(_native)) == public(defined)
    for name, node in defined.items():
        if isinstance(node, ast.ClassDef) and not issubclass(getattr(_native, name), Exception):
            members = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            assert public(vars(getattr(_native, name))) == public(members)
