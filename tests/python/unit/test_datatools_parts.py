# SPDX-License-Identifier: Apache-2.0
"""What inspect and convert are made of: sniffing, escaping, sizes, batches, shuffling, gzip."""

import gzip
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._datatools.escape import escaped
from sagemaker_tensorflow._datatools.shuffle import shuffled
from sagemaker_tensorflow._datatools.sizes import Sizes
from sagemaker_tensorflow._formats import magic
from sagemaker_tensorflow._formats.gzip_stream import GzipStream
from sagemaker_tensorflow._formats.sniff import HEAD_BYTES, Encoding, sniff
from sagemaker_tensorflow.records import encode

WINDOW_BITS = {"GZIP": 31, "ZLIB": 15}


def compress(data, compression):
    if compression is None:
        return data
    compressor = zlib.compressobj(wbits=WINDOW_BITS[compression])
    return compressor.compress(data) + compressor.flush()


def records_of(batches):
    return [
        batch.data[begin:end].tobytes()
        for batch in batches
        for begin, end in zip(batch.begins, batch.ends, strict=True)
    ]


TEXT = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1).map(str.encode)


@given(
    st.lists(st.binary(max_size=100), min_size=1),
    st.sampled_from(["TFRecord", "RecordIO"]),
    st.sampled_from([None, "GZIP", "ZLIB"]),
    st.integers(0, 2),
)
def test_records_are_recognised(records, record_format, compression, empty_members):
    stream = b"".join(encode(record, record_format) for record in records)
    # Gzipped objects may begin with empty members.
    stored = compress(b"", compression) * empty_members + compress(stream, compression)
    encoding, content = sniff(stored[:HEAD_BYTES])
    assert encoding == Encoding(record_format, compression)
    assert content == stream[:HEAD_BYTES]


@given(st.lists(TEXT, min_size=1), st.sampled_from([None, "GZIP", "ZLIB"]))
@example([b"x\x9c" * 3], None)  # as zlib begins, but for the rest
@example(["grün".encode("latin-1")], None)
@example([b"\x1b[1mbold\x1b[0m\ttab"], None)
def test_text_is_recognised(lines, compression):
    stream = b"\n".join(lines)
    assume(not stream.startswith(b"\n#"))  # may be RecordIO
    assert sniff(compress(stream, compression))[0] == Encoding("TextLine", compression)


def test_a_damaged_first_record_is_still_a_tfrecord():
    stream = bytearray(encode(b"payload", "TFRecord"))
    stream[8] ^= 1  # checksum of the length
    assert sniff(bytes(stream))[0] == Encoding("TFRecord", None)
    stream[-1] ^= 1
    assert sniff(bytes(stream))[0] == Encoding(None, None)


@pytest.mark.parametrize("head", [b"", b"\0", b"\x89PNG\r\n\x1a\n", b"a\0b\0"])
def test_what_holds_no_records(head):
    assert sniff(head)[0] == Encoding(None, None)


@given(st.binary(max_size=300))
def test_sniffing_never_fails(head):
    for prefix in (b"", b"\x1f\x8b\x08", b"\x78\x9c", b"\x0a\x23\xd7\xce"):
        sniff(prefix + head)
        magic.describe(prefix + head)


def test_what_the_user_says_beats_the_bytes():
    stored = compress(b"line", "GZIP")
    assert sniff(stored, "NONE") == (Encoding(None, None), stored)
    assert sniff(stored, "GZIP") == (Encoding("TextLine", "GZIP"), b"line")
    assert sniff(b"line", "ZLIB") == (Encoding(None, "ZLIB"), b"")


@given(st.binary(max_size=200), st.integers(1, 100))
def test_what_is_shown_is_short_and_printable(data, limit):
    text = escaped(data, limit)
    assert text.isprintable()
    assert len(text) <= 2 * limit + 2
    assert text.endswith("…") == (len(data) > limit or not _shown_whole(data, text))


def _shown_whole(data, text):
    return text in (repr(data)[2:-1], _as_utf8(data))


def _as_utf8(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def test_text_is_shown_as_it_is():
    assert escaped("grün".encode()) == "grün"
    assert escaped("grün".encode(), 3) == "gr…"  # not half a letter
    assert escaped(b"\x1b[2J\n") == "\\x1b[2J\\n"
    assert escaped(b"\xff\xd8\xff") == "\\xff\\xd8\\xff"


@given(st.lists(hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 1 << 40))))
def test_sizes(groups):
    sizes, merged = Sizes(), Sizes()
    for group in groups:
        sizes.add(group)
        one = Sizes()
        one.add(group)
        merged.merge(one)
    numbers = [int(number) for group in groups for number in group]
    for one in (sizes, merged):
        assert (one.count, one.total) == (len(numbers), sum(numbers))
        if not numbers:
            assert one.histogram() == []
            continue
        assert (one.least, one.most) == (min(numbers), max(numbers))
        bins = one.histogram()
        assert [records for *_, records in bins] == [
            sum(least <= number <= most for number in numbers) for least, most, _ in bins
        ]
        assert sum(records for *_, records in bins) == len(numbers)


@given(st.lists(st.binary(max_size=50)), st.integers(1, 200))
def test_pieces_of_a_batch(records, max_bytes):
    pieces = list(Batch.of_records(records).pieces(max_bytes))
    assert records_of(pieces) == records
    for piece in pieces:
        assert piece.payload_bytes <= max_bytes or len(piece) == 1


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.binary(max_size=40), max_size=30), max_size=20),
    st.integers(0, 100),
    st.sampled_from([200, 2000, 1 << 20]),
)
def test_shuffling_loses_nothing(tmp_path_factory, groups, seed, memory_bytes):
    folder = tmp_path_factory.mktemp("shuffle")

    def run(seed):
        batches = map(Batch.of_records, groups)
        return records_of(shuffled(batches, seed, folder, memory_bytes))

    result = run(seed)
    assert sorted(result) == sorted(record for group in groups for record in group)
    assert run(seed) == result
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("memory_bytes", "runs"), [(1 << 20, 400), (1000, 20)])
def test_every_place_is_equally_likely(tmp_path, memory_bytes, runs):
    """The mean place of each record over many shuffles; its standard deviation is 0.29."""
    count = 40
    records = [bytes([number]) * 50 for number in range(count)]
    places = np.zeros(count)
    for seed in range(runs):
        batches = [Batch.of_records(records[:15]), Batch.of_records(records[15:])]
        for place, record in enumerate(records_of(shuffled(batches, seed, tmp_path, memory_bytes))):
            places[record[0]] += place / (count - 1) / runs
    # Five standard errors; the seeds are fixed, so it never fails by chance.
    assert np.abs(places - 0.5).max() < 5 * 0.3 / runs**0.5


@pytest.mark.parametrize(
    "sizes", [[], [0], [5], [1 << 20], [1 << 20, 1, (1 << 20) - 1], [7] * 1000]
)
def test_gzip_is_one_member_for_everyone(sizes):
    random = np.random.default_rng(0)
    data = [random.integers(0, 9, size, dtype=np.uint8) for size in sizes]

    def run(threads):
        with ThreadPoolExecutor(threads) as executor:
            stream = GzipStream(executor)
            futures = [future for piece in data for future in stream.add(piece)]
            return b"".join(future.result() for future in futures + stream.finish())

    stored = run(3)
    assert run(1) == stored
    expected = b"".join(piece.tobytes() for piece in data)
    assert gzip.decompress(stored) == expected
    decompressor = zlib.decompressobj(31)
    assert decompressor.decompress(stored) == expected
    assert decompressor.eof
    assert not decompressor.unused_data  # one member only
    # Blocks cost next to nothing.
    assert len(stored) <= len(gzip.compress(expected, 6)) * 1.01 + 50


def test_a_shuffle_that_is_left_early_leaves_nothing(tmp_path):
    batches = (Batch.of_records([os.urandom(100)] * 10) for _ in range(100))
    iterator = shuffled(batches, 0, tmp_path, 1000)
    next(iterator)
    assert list(tmp_path.iterdir()) != []
    iterator.close()
    assert list(tmp_path.iterdir()) == []
