# SPDX-License-Identifier: Apache-2.0
"""What is found in a script's last words."""

import pytest
from sagemaker_tensorflow._local.feed.reader_errors import ReaderError, find, last_of_each

DIRS = {"/ml (1)/algo-1/data": ["algo-1"], "/ml (1)/algo-2/data": ["algo-2"]}
SHARED = {"/opt/ml/input/data": ["algo-1", "algo-2"]}
CHANNELS = ["a", "a_1", "a.b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "E: channel 'a' epoch 3 (/ml (1)/algo-1/data/a_3): record 12 at byte 940: payload CRC",
            ("a", 3, 940, False),
        ),
        ("'/ml (1)/algo-1/data/a_1_0': record 0 at byte 0: x", ("a_1", 0, 0, False)),
        (
            "in '/x': channel 'a_1' epoch 2 (/ml (1)/algo-1/data/a_1_2): record 1 at byte 5: "
            "gzip member 7, near compressed byte 99: checksum mismatch",
            ("a_1", 2, 99, True),
        ),
        (
            "(/ml (1)/algo-1/data/a.b_2): record 1 at byte 5: zlib member 0, near compressed byte "
            "0: bad header",
            ("a.b", 2, 0, True),
        ),
        ("(/ml (1)/algo-1/data/axb_2): record 1 at byte 5: x", None),
        ("(/ml (1)/algo-3/data/a_2): record 1 at byte 5: x", None),
        ("(/ml (1)/algo-1/data/a_2): no data for 5 s", None),
    ],
)
def test_messages(text, expected):
    found = find(f"Traceback\n{text}\nmore", DIRS, CHANNELS)
    assert found == ([ReaderError("/ml (1)/algo-1/data", *expected)] if expected else [])


def message(folder, channel, byte):
    return f"({folder}/{channel}_0): record 1 at byte {byte}: x\n"


def test_last_error_of_each_channel():
    one, two = DIRS
    said = [
        ("algo-1", message(one, "a", 1) + message(one, "a_1", 2) + message(one, "a", 3)),
        (None, message(two, "a", 4)),
    ]
    assert last_of_each(said, DIRS, CHANNELS) == {
        ("algo-1", "a"): ReaderError(one, "a", 0, 3, False),
        ("algo-1", "a_1"): ReaderError(one, "a_1", 0, 2, False),
        ("algo-2", "a"): ReaderError(two, "a", 0, 4, False),
    }


def test_host_that_is_not_known():
    [folder] = SHARED
    text = message(folder, "a", 1)
    error = ReaderError(folder, "a", 0, 1, False)
    assert last_of_each([(None, text)], SHARED, CHANNELS) == {}
    assert last_of_each([("algo-2", text)], SHARED, CHANNELS) == {("algo-2", "a"): error}
