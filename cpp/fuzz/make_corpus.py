#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the corpus: for each fuzz target one small seed for each branch of what it tests.

The first bytes of a seed choose how the rest is read; the comment on top of each target says how.
What a fuzzer finds goes into the folder beside these, under a name that says what it was.
"""

from __future__ import annotations

import argparse
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"

# Options of the three formats' targets.
REPAIR, DMLC, ANY_SIZE, WRITE = 1, 1, 2, 4
STRIP, REPEATED, HEADER = 8, 16, 32
# Chunking::FromByte.
WHOLE, BY_ONE, BY_FIVE, GROWING, SCATTER = 0, 1, 4, 7, 8
# What stream_fuzzer reads.
RECORDIO, TFRECORD, TEXT_LINE = 0, 1, 2
NONE, GZIP, ZLIB = 0, 3, 6
AUTO = 18  # the compression is not announced
THROUGH_PIPE = 32
# What files_fuzzer reads.
FILES_AUTO, ONE_RECORD = 3, 36
NONE_WRONG = 7

# 150 letters in a block with Huffman codes of its own, as zlib 1.2.13 made it. Other versions make
# other blocks, and a corpus must not depend on who makes it.
DYNAMIC_BLOCK = (
    "b5cbc90d00210c04b05a07a25c224380fea5ad62fd373cfda90b81ad19b2368d875acc61365777de891a827a385e8c"
    "2bb3350c7fc60f"
)
# "aaaaaaaaaa" with the fixed codes.
FIXED_BLOCK = "4b4c840100"
# The same, but the repetition begins before the first byte.
TOO_FAR_BACK = "4b18840100"

MAGIC = struct.pack("<I", 0xCED7230A)


def crc32c(data: bytes) -> int:
    """Computes the CRC-32C of ``data``."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> bytes:
    """Computes the CRC as TFRecord stores it."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def tfrecord(payload: bytes, length: int | None = None) -> bytes:
    """Frames a record; with ``length`` in place of its own, if given."""
    header = struct.pack("<Q", len(payload) if length is None else length)
    return header + masked_crc(header) + payload + masked_crc(payload)


def part(flag: int, payload: bytes, length: int | None = None) -> bytes:
    """Frames a part of a RecordIO record."""
    length = len(payload) if length is None else length
    return MAGIC + struct.pack("<I", flag << 29 | length) + payload + bytes(-len(payload) % 4)


def stored(data: bytes, last: int = 1) -> bytes:
    """Makes a deflate block that is not compressed, and thus the same with every zlib."""
    return struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data


def gzip_trailer(data: bytes) -> bytes:
    """Makes what ends a gzip member."""
    return struct.pack("<II", zlib.crc32(data), len(data))


def gzip_member(data: bytes, flags: int = 0, fields: bytes = b"") -> bytes:
    """Makes a gzip member with these optional header fields."""
    header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, flags, 0, 0, 255) + fields
    if flags & 2:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    return header + stored(data) + gzip_trailer(data)


def zlib_stream(data: bytes, header: bytes = b"\x78\x9c") -> bytes:
    """Makes a zlib stream."""
    return header + stored(data) + struct.pack(">I", zlib.adler32(data))


def tfrecord_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of tfrecord_fuzzer."""
    two = tfrecord(b"first") + tfrecord(b"second one")
    yield "empty", bytes([0, WHOLE])
    yield "two_records", bytes([0, WHOLE]) + two
    yield "two_records_by_one", bytes([0, BY_ONE]) + two
    yield "empty_record", bytes([0, BY_FIVE]) + tfrecord(b"") + tfrecord(b"x")
    yield "long_records", bytes([ANY_SIZE, GROWING]) + tfrecord(b"a" * 90) + tfrecord(b"b" * 200)
    yield "too_long", bytes([0, WHOLE]) + tfrecord(b"c" * 41)
    yield "cut_header", bytes([0, BY_FIVE]) + two[:30]
    yield "cut_payload", bytes([0, WHOLE]) + two[:-8]
    yield "cut_long_payload", bytes([ANY_SIZE, SCATTER]) + tfrecord(b"d" * 90)[:60]
    yield "cut_long_footer", bytes([ANY_SIZE, SCATTER]) + tfrecord(b"d" * 90)[:-2]
    yield "bad_length_crc", bytes([0, WHOLE]) + two[:25] + b"?" + two[26:]
    yield "bad_payload_crc", bytes([0, WHOLE]) + tfrecord(b"first")[:-1] + b"?" + two
    yield "bad_long_payload_crc", bytes([ANY_SIZE, WHOLE]) + tfrecord(b"e" * 90)[:-1] + b"?" + two
    yield "length_of_2_to_the_63", bytes([ANY_SIZE, WHOLE]) + tfrecord(b"x", length=1 << 63)
    yield "length_of_all_ones", bytes([ANY_SIZE, WHOLE]) + tfrecord(b"x", length=(1 << 64) - 1)
    yield "length_of_one_gib", bytes([ANY_SIZE, BY_ONE]) + tfrecord(b"x" * 50, length=1 << 30)
    yield "gzip", bytes([0, WHOLE]) + gzip_member(two)
    yield "short_gzip", bytes([0, WHOLE]) + b"\x1f\x8b\x08"
    yield "recordio", bytes([0, WHOLE]) + part(0, b"this is RecordIO")
    yield (
        "repaired",
        bytes([REPAIR, BY_FIVE])
        + b"".join(
            struct.pack("<QI", len(data), 0) + data + bytes(4)
            for data in (b"one", b"", b"!bad", b"2")
        ),
    )
    yield "written", bytes([WRITE, 7]) + bytes(range(64))


def recordio_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of recordio_fuzzer."""
    two = part(0, b"first") + part(0, b"second one")
    parts = part(1, b"one,") + part(2, b"two,") + part(3, b"three")
    yield "empty", bytes([0, WHOLE])
    yield "two_records", bytes([0, WHOLE]) + two
    yield "two_records_by_one", bytes([0, BY_ONE]) + two
    yield "empty_record", bytes([0, BY_FIVE]) + part(0, b"") + part(0, b"x")
    yield "parts_joined", bytes([0, GROWING]) + parts + two
    yield "parts_dmlc", bytes([DMLC, GROWING]) + parts + two
    yield "parts_long", bytes([ANY_SIZE, SCATTER]) + part(1, b"a" * 90) + part(3, b"b" * 61)
    yield "parts_too_long", bytes([0, WHOLE]) + part(1, b"a" * 38) + part(3, b"b" * 3)
    yield "parts_too_long_by_magic", bytes([DMLC, WHOLE]) + part(1, b"a" * 36) + part(3, b"b")
    yield "parts_empty", bytes([DMLC, WHOLE]) + part(1, b"") + part(2, b"") * 5 + part(3, b"")
    yield "long_records", bytes([ANY_SIZE, GROWING]) + part(0, b"a" * 90) + part(0, b"b" * 201)
    yield "too_long", bytes([0, WHOLE]) + part(0, b"c" * 41)
    yield "length_of_all_ones", bytes([ANY_SIZE, WHOLE]) + part(0, b"x", length=(1 << 29) - 1)
    yield "cut_magic", bytes([0, WHOLE]) + two + MAGIC[:3]
    yield "cut_header", bytes([0, BY_FIVE]) + two + MAGIC + b"\0\0"
    yield "cut_payload", bytes([0, WHOLE]) + two[:-4]
    yield "cut_padding", bytes([0, WHOLE]) + two[:-1]
    yield "cut_long_payload", bytes([ANY_SIZE, WHOLE]) + part(0, b"d" * 90)[:50]
    yield "cut_long_padding", bytes([ANY_SIZE, WHOLE]) + part(0, b"d" * 90)[:-1]
    yield "cut_between_parts", bytes([0, WHOLE]) + part(1, b"one") + MAGIC
    yield "odd_padding", bytes([0, WHOLE]) + two[:-1] + b"?" + two
    yield "bad_magic", bytes([0, WHOLE]) + two + b"????" + two
    yield "bad_magic_in_four_bytes", bytes([0, WHOLE]) + two + b"????"
    yield "bad_magic_between_parts", bytes([0, WHOLE]) + part(1, b"one") + b"????????"
    yield "middle_first", bytes([0, WHOLE]) + part(2, b"two")
    yield "last_first", bytes([0, WHOLE]) + part(3, b"three")
    yield "whole_after_first", bytes([0, WHOLE]) + part(1, b"one") + part(0, b"whole")
    yield "first_after_first", bytes([0, WHOLE]) + part(1, b"one") + part(1, b"one")
    yield "flag_7", bytes([0, WHOLE]) + part(7, b"what")
    yield "gzip", bytes([0, WHOLE]) + gzip_member(two)
    yield "tfrecord", bytes([0, WHOLE]) + tfrecord(b"this is TFRecord")
    yield "written", bytes([WRITE, 7]) + MAGIC * 4 + bytes(range(40)) + MAGIC
    yield "written_dmlc", bytes([WRITE | DMLC, 23]) + MAGIC * 4 + bytes(range(40)) + MAGIC


def text_line_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of text_line_fuzzer."""
    yield "empty", bytes([0, WHOLE])
    yield "lines", bytes([0, WHOLE]) + b"one\ntwo\nthree\n"
    yield "lines_by_one", bytes([0, BY_ONE]) + b"one\ntwo\nthree\n"
    yield "open_end", bytes([0, BY_FIVE]) + b"one\ntwo"
    yield "empty_lines", bytes([0, GROWING]) + b"\n\n\nx\n\n"
    yield "carriage_return", bytes([0, SCATTER]) + b"one\r\n\rtwo\r\n"
    yield (
        "longer_than_the_buffer",
        bytes([ANY_SIZE, WHOLE]) + b"a" * 150 + b"\n" + b"b" * 32 + b"\n",
    )
    yield "exactly_the_buffer", bytes([ANY_SIZE, WHOLE]) + b"a" * 32 + b"\n" + b"b" * 31 + b"\n" * 2
    yield "too_long", bytes([0, WHOLE]) + b"c" * 41 + b"\n"
    yield "as_long_as_allowed", bytes([0, WHOLE]) + b"c" * 40 + b"\n" + b"d" * 40
    yield "gzip", bytes([0, WHOLE]) + gzip_member(b"one\n")
    yield "gzip_in_a_later_line", bytes([0, WHOLE]) + b"\n" + gzip_member(b"one\n")
    yield "short_gzip", bytes([0, BY_ONE]) + b"\x1f\x8b\x08"
    yield "any_bytes", bytes([0, WHOLE]) + bytes(range(256))
    table = b"a,b\r\n1,2\r\na,b\n3,4\n\r\n"
    yield "strip", bytes([ANY_SIZE | STRIP, BY_ONE]) + table
    yield "strip_long", bytes([ANY_SIZE | STRIP, WHOLE]) + b"x" * 31 + b"\r\n" + b"y" * 31 + b"\r"
    yield "header", bytes([ANY_SIZE | HEADER, GROWING]) + table
    yield "header_only", bytes([ANY_SIZE | 3 * HEADER, WHOLE]) + table[:10]
    yield "header_repeated", bytes([ANY_SIZE | STRIP | REPEATED | HEADER, BY_FIVE]) + table
    yield "header_repeated_too_long", bytes([REPEATED | HEADER, WHOLE]) + b"h" * 41 + b"\n"
    yield "header_repeated_cut", bytes([REPEATED | 2 * HEADER, BY_ONE]) + b"a,b\nc,d"
    block = bytes([ANY_SIZE | REPEATED | 2 * HEADER, BY_ONE])
    yield "header_of_two_lines", block + b"a\n\n1\n\n2\na\n\n3\na\n\n4"
    yield "header_begun_again", block + b"a\na\n1\na\nb\na\na\na\n2\na"
    mark = b"\xef\xbb\xbf"
    yield (
        "header_marked",
        bytes([ANY_SIZE | REPEATED | HEADER, BY_ONE])
        + (mark + b"h\n1\nh\n2\n" + mark + b"h\n" + mark + b"3"),
    )
    yield "header_marked_owed", block + b"a\nb\n" + mark + b"a\n1\n" + mark + b"a\nb\n" + mark
    yield (
        "header_marked_inside",
        bytes([ANY_SIZE | REPEATED | 3 * HEADER, BY_FIVE])
        + (b"h\n" + mark + b"h\ni\n1\nh\n" + mark + b"h\n" + mark + b"h\ni\n2"),
    )
    yield "zlib", bytes([0, BY_ONE]) + zlib_stream(b"one\n")
    yield "begins_like_zlib", bytes([0, BY_ONE]) + b"x^2\nx y\n"
    yield "header_repeated_gzip", bytes([REPEATED | HEADER, WHOLE]) + gzip_member(table)
    yield "written", bytes([WRITE, 7]) + bytes(range(64))


def inflate_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of inflate_fuzzer: bit 0 zlib, 2 a deflate body, 4 plain bytes, 8 to 56 sizes."""
    data = b"some text, some more text"
    member = gzip_member(data)
    yield "empty", bytes([32, WHOLE])
    yield "gzip", bytes([32, WHOLE]) + member
    yield "gzip_by_one", bytes([0, BY_ONE]) + member
    yield "gzip_small_reads", bytes([8, BY_FIVE | 0x20]) + member
    yield "gzip_two_members", bytes([32, GROWING]) + member + gzip_member(b"") + member
    yield (
        "gzip_all_fields",
        bytes([16, BY_ONE]) + gzip_member(data, 0x1F, b"\x04\0abcd" + b"name\0" + b"comment\0"),
    )
    yield "gzip_empty_extra", bytes([32, WHOLE]) + gzip_member(data, 4, b"\0\0")
    yield "gzip_bad_magic", bytes([32, WHOLE]) + b"\x1f\x8c" + member[2:]
    yield "gzip_bad_method", bytes([32, WHOLE]) + member[:2] + b"\7" + member[3:]
    yield "gzip_reserved_flag", bytes([32, WHOLE]) + gzip_member(data, 0x20)
    yield (
        "gzip_bad_header_crc",
        bytes([32, WHOLE]) + gzip_member(data, 2)[:10] + b"??" + member[10:],
    )
    yield "gzip_cut_header", bytes([32, WHOLE]) + member[:7]
    yield "gzip_cut_body", bytes([32, WHOLE]) + member[:20]
    yield "gzip_cut_trailer", bytes([32, WHOLE]) + member[:-3]
    yield "gzip_bad_crc", bytes([32, WHOLE]) + member[:-8] + b"?" + member[-7:]
    yield "gzip_bad_length", bytes([32, WHOLE]) + member[:-4] + b"?" + member[-3:]
    yield "gzip_bad_block", bytes([32, WHOLE]) + member[:10] + b"\xff" + member[11:]
    yield "gzip_garbage_behind", bytes([32, WHOLE]) + member + b"garbage"
    yield "gzip_zeros_behind", bytes([32, WHOLE]) + member + bytes(8)
    yield "zlib", bytes([33, WHOLE]) + zlib_stream(data)
    yield "zlib_by_one", bytes([1, BY_ONE]) + zlib_stream(data)
    yield "zlib_two_streams", bytes([33, GROWING]) + zlib_stream(data) + zlib_stream(b"")
    yield "zlib_dictionary", bytes([33, WHOLE]) + b"\x78\xbb" + zlib_stream(data)[2:]
    yield "zlib_bad_method", bytes([33, WHOLE]) + b"\x79\x9c" + zlib_stream(data)[2:]
    yield "zlib_bad_check", bytes([33, WHOLE]) + b"\x78\x9d" + zlib_stream(data)[2:]
    yield "zlib_bad_adler", bytes([33, WHOLE]) + zlib_stream(data)[:-1] + b"?"
    yield "zlib_window_too_large", bytes([33, WHOLE]) + zlib_stream(data, b"\x88\x1c")
    yield "zlib_small_window", bytes([33, WHOLE]) + zlib_stream(data, b"\x08\x1d")
    yield (
        "body_stored_blocks",
        bytes([34, BY_FIVE]) + stored(b"one", 0) + stored(b"", 0) + stored(b"2"),
    )
    yield "body_fixed", bytes([34, WHOLE]) + bytes.fromhex(FIXED_BLOCK)
    yield "body_fixed_zlib", bytes([35, BY_ONE]) + bytes.fromhex(FIXED_BLOCK)
    yield "body_dynamic", bytes([34, BY_ONE]) + bytes.fromhex(DYNAMIC_BLOCK)
    yield "body_far_back", bytes([34, WHOLE]) + bytes.fromhex(TOO_FAR_BACK)
    yield "body_cut", bytes([34, WHOLE]) + bytes.fromhex(DYNAMIC_BLOCK)[:9]
    yield "written", bytes([36, WHOLE, 9]) + data * 4
    yield "written_stored", bytes([36, BY_ONE, 0]) + data * 4
    yield "written_huffman_only", bytes([36, GROWING, 16]) + data * 4
    yield "written_fixed_members", bytes([37, SCATTER, 156]) + data * 4


def stream_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of stream_fuzzer."""
    tfrecords = tfrecord(b"first") + tfrecord(b"") + tfrecord(b"z" * 30)
    parts = part(0, b"first") + part(1, b"one,") + part(3, b"two")
    lines = b"one\n\ntwo\nthree"
    corrupt = tfrecord(b"bad")[:-1] + b"?"
    cases = {"recordio": (RECORDIO, parts), "tfrecord": (TFRECORD, tfrecords)}
    cases["text_line"] = TEXT_LINE, lines
    for name, (kind, data) in cases.items():
        yield f"{name}", bytes([kind, 0, WHOLE, 0]) + data
        yield f"{name}_pipe", bytes([kind, 0, THROUGH_PIPE, 0]) + data
        yield f"{name}_gzip", bytes([kind + GZIP, 0, BY_FIVE, 0]) + gzip_member(data)
        yield f"{name}_gzip_pipe", bytes([kind + GZIP, 0, THROUGH_PIPE, 0]) + gzip_member(data)
        yield f"{name}_zlib", bytes([kind + ZLIB, 0, BY_ONE, 0]) + zlib_stream(data)
        yield f"{name}_gzip_cut", bytes([kind + GZIP, 0, WHOLE, 0]) + gzip_member(data)[:-1]
        yield f"{name}_written_gzip", bytes([kind + GZIP, 0, GROWING, 126]) + data
        yield f"{name}_written_zlib", bytes([kind + ZLIB, 0, SCATTER, 89]) + data
        yield f"{name}_at_most_20", bytes([kind, 2, WHOLE, 0]) + data
    yield "recordio_dmlc", bytes([RECORDIO + 9, 0, WHOLE, 0]) + parts
    yield "recordio_in_a_record", bytes([RECORDIO, 0, WHOLE, 0]) + part(0, parts)
    yield "corrupt", bytes([TFRECORD, 0, WHOLE, 0]) + corrupt + tfrecords
    yield "corrupt_skipped", bytes([TFRECORD, 6, WHOLE, 0]) + corrupt + tfrecords + corrupt
    yield "corrupt_two_in_a_row", bytes([TFRECORD, 6, WHOLE, 0]) + corrupt * 2 + tfrecords
    yield "corrupt_all_skipped", bytes([TFRECORD, 18, WHOLE, 0]) + corrupt * 4
    yield "corrupt_gzip", bytes([TFRECORD + GZIP, 12, WHOLE, 7]) + corrupt + tfrecords
    yield "empty_member", bytes([TEXT_LINE + GZIP, 0, WHOLE, 0]) + gzip_member(b"") * 2
    yield "long_record", bytes([TFRECORD, 0, GROWING, 0]) + tfrecord(b"l" * 17000)
    yield "long_record_pipe", bytes([RECORDIO, 0, THROUGH_PIPE, 0]) + part(0, b"l" * 17000)
    yield "gzip_unannounced", bytes([TFRECORD, 0, WHOLE, 0]) + gzip_member(tfrecords)
    for name, (kind, data) in cases.items():
        kind += AUTO
        yield f"{name}_auto", bytes([kind, 0, BY_ONE, 0]) + data
        yield f"{name}_auto_gzip", bytes([kind + GZIP, 0, BY_ONE, 0]) + gzip_member(data)
        yield f"{name}_auto_gzip_cut", bytes([kind + GZIP, 0, WHOLE, 0]) + gzip_member(data)[:-1]
        yield f"{name}_auto_pipe", bytes([kind + GZIP, 0, THROUGH_PIPE, 7]) + data
    text = TEXT_LINE + AUTO
    yield "auto_zlib", bytes([text + ZLIB, 0, BY_FIVE, 0]) + zlib_stream(lines)
    yield "auto_begins_like_zlib", bytes([text, 0, BY_ONE, 0]) + b"x^2 + y^2\n= z^2"
    yield "auto_short_gzip", bytes([text, 0, BY_ONE, 0]) + b"\x1f\x8b"
    yield "auto_shortest_gzip", bytes([text, 0, WHOLE, 0]) + b"\x1f\x8b\x08"
    yield "auto_nearly_gzip", bytes([text, 0, GROWING, 0]) + b"\x1f\x8b\x08\xff" + lines * 3
    yield "auto_empty", bytes([text, 0, WHOLE, 0])


def files(
    kind: int,
    *contents: bytes,
    limits: int = 0,
    text: int = 0,
    stride: int = 1,
    first: int = 0,
    wrong: int = NONE_WRONG,
) -> bytes:
    """Makes a seed of files_fuzzer; the file number ``wrong`` is listed with another size."""
    choice = len(contents) - 1 | stride - 1 << 2 | first << 4 | wrong << 5
    sizes = b"".join(struct.pack("<H", len(content)) for content in contents[:-1])
    return bytes([kind, limits, text, choice]) + sizes + b"".join(contents)


def files_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of files_fuzzer."""
    two = part(0, b"first") + part(0, b"second one")
    last = part(0, b"last")
    tfrecords = tfrecord(b"first") + tfrecord(b"second one")
    corrupt = tfrecord(b"bad")[:-1] + b"?"
    auto = TEXT_LINE + FILES_AUTO
    header, one, both = REPEATED | HEADER, b"a,b\n", b"a,b\nc\n"
    mark = b"\xef\xbb\xbf"
    yield "nothing", b""
    yield "recordio", files(RECORDIO, two, last, two)
    yield "recordio_cut", files(RECORDIO, two, two[:-10], last)
    yield "recordio_cut_by_the_next", files(RECORDIO, two, two[: -len(last)], last)
    yield "recordio_parts", files(RECORDIO + 6, part(1, b"a"), part(3, b"b"), two)
    yield "tfrecord", files(TFRECORD, tfrecords, tfrecords, tfrecord(b""))
    yield "tfrecord_cut", files(TFRECORD, tfrecords, tfrecords[:-3], tfrecords)
    yield "text_open_end", files(TEXT_LINE, b"h,x\n1,a", b"h,x\n2,b", b"3")
    yield "empty_first", files(TFRECORD, b"", tfrecords)
    yield "empty_middle", files(TFRECORD, tfrecords[:21], b"", tfrecords[21:])
    yield "empty_last", files(TFRECORD, tfrecords, b"")
    yield "all_empty", files(TFRECORD, b"", b"", b"", b"")
    yield "gzip_and_plain", files(TFRECORD + 3, tfrecords, gzip_member(tfrecords), tfrecords)
    yield "gzip_cut", files(TFRECORD + 3, gzip_member(tfrecords)[:-1], tfrecords)
    yield "gzip_zeros_behind", files(auto, gzip_member(b"1\n") + bytes(8), b"2\n")
    yield "gzip_unannounced", files(TFRECORD, tfrecords, gzip_member(tfrecords))
    yield "corrupt", files(TFRECORD, corrupt + tfrecords, corrupt)
    yield "corrupt_in_a_row", files(TFRECORD, tfrecords + corrupt, corrupt + tfrecords, limits=6)
    yield "too_long", files(TFRECORD, tfrecord(b"l" * 21), tfrecords, limits=2)
    yield "no_data", files(TFRECORD, b'{"shape": [28, 28]}', tfrecords)
    yield "one_record", files(ONE_RECORD, b"whole", b"", two)
    yield "one_record_too_long", files(ONE_RECORD, b"w" * 21, b"short", limits=2)
    yield "long_records", files(RECORDIO, part(0, b"l" * 17000), last, part(0, b"m" * 300))
    yield "wrong_size", files(TFRECORD, tfrecords, tfrecords, tfrecords, wrong=1)
    yield "shard", files(TFRECORD, tfrecords, tfrecord(b"2"), tfrecord(b"3"), stride=2, first=1)
    yield "shard_of_nothing", files(TFRECORD, tfrecords, stride=4, first=1)
    yield "header", files(TEXT_LINE, one + b"1", one + b"2", b"3", text=HEADER)
    yield "header_in_each", files(TEXT_LINE, one + b"1", one + b"2\n" + one, one, text=header)
    yield "header_in_one", files(TEXT_LINE, one + b"1", b"2\n", b"3", text=header)
    yield "header_marked", files(TEXT_LINE, mark + one + b"1", one + b"2", mark + one, text=header)
    yield "header_empty_first", files(auto, b"", gzip_member(one) + b"", one + b"2", text=header)
    two_lines = header + HEADER
    yield "header_in_pieces", files(TEXT_LINE, one, b"c\n1\n", both + b"2\n", text=two_lines)
    yield "header_of_two", files(TEXT_LINE, both + b"1\n", one + b"2\n", both, text=two_lines)
    yield (
        "header_cut",
        files(auto, gzip_member(both)[:19], both + b"1\n", both + b"2\n", text=two_lines),
    )
    yield (
        "header_for_a_shard",
        files(TEXT_LINE, one, b"c\n1\n", b"2\n3\n", both, text=two_lines, stride=2),
    )
    yield (
        "header_of_a_bad_file",
        files(TEXT_LINE, one, one + b"1\n", one, text=header, stride=2, first=1, wrong=0),
    )


def state_file_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of state_file_fuzzer."""
    yield "empty", b""
    yield "zero", b"0"
    yield "number", b"42"
    yield "newline", b"42\n"
    yield "blanks", b"42 \r\n"
    yield "leading_zeros", b"0000000042"
    yield "too_many_zeros", b"00000000042"
    yield "greatest", b"2147483647"
    yield "too_great", b"2147483648"
    yield "ten_nines", b"9999999999"
    yield "negative", b"-1"
    yield "plus", b"+1"
    yield "hexadecimal", b"0x10"
    yield "leading_blank", b" 42"
    yield "only_blanks", b" \n"
    yield "text", b"forty-two"
    yield "control_characters", b"\x1b[31m42\0"
    yield "longest", b"7" + b" " * 63
    yield "too_long", b"7" + b" " * 64
    yield "text_behind_the_blanks", b"7" + b" " * 64 + b"x"


def channel_name_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of channel_name_fuzzer."""
    yield "plain", b"train"
    yield "all_kinds", b"A.b-c_0"
    yield "dots", b".."
    yield "longest", b"x" * 64
    yield "too_long", b"x" * 65
    yield "empty", b""
    yield "path", b"../../etc/passwd"
    yield "absolute", b"/etc/passwd"
    yield "nul", b"train\0/../x"
    yield "control_characters", b"\x1b[31mtrain\n"
    yield "not_ascii", "tr\N{LATIN SMALL LETTER A WITH DIAERESIS}in".encode()


def varint(value: int) -> bytes:
    """Encodes a number as protobuf does."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    """Makes a protobuf field that has its size in front."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(name: bytes, feature: bytes) -> bytes:
    """Makes one feature of an Example."""
    return field(1, field(1, name) + field(2, feature))


def example_seeds() -> Iterator[tuple[str, bytes]]:
    """Seeds of example_fuzzer."""
    floats = entry(b"f", field(2, field(1, struct.pack("<2f", 0.5, -1))))
    number = entry(b"i", field(3, field(1, varint(300))))
    strings = entry(b"b", field(1, field(1, b"one") + field(1, b"")))
    nameless = field(1, field(2, field(3, field(1, varint((1 << 64) - 1) + b"\0"))))
    stranger = entry(b"stranger", field(1, field(1, b"?")))
    unknown = b"\x48\x01" + field(10, b"?") + b"\x5d1234" + b"\x6112345678"

    def two(first: bytes, second: bytes) -> bytes:
        return bytes([len(first)]) + first + second

    whole = field(1, floats + number + strings + nameless)
    yield "empty", b""
    yield "one", two(b"", whole)
    yield "alike", two(whole, whole)
    yield "another_order", two(whole, field(1, stranger + nameless + number + strings + floats))
    yield "only_what_is_required", two(field(1, number), field(1, stranger + number))
    yield "required_is_missing", two(b"", field(1, floats))
    yield "without_a_list", two(field(1, number + entry(b"f", b"")), b"")
    yield "twice", two(whole + whole, field(1, number + number))
    yield "unknown_fields", two(unknown + whole + unknown, field(1, unknown + number + unknown))
    yield (
        "unknown_in_feature",
        two(field(1, entry(b"i", unknown + field(3, unknown + b"\x08\x05") + unknown)), b""),
    )
    yield (
        "unknown_in_strings",
        two(field(1, number + entry(b"b", field(1, unknown + field(1, b"") * 2))), b""),
    )
    yield "single_floats", two(field(1, number + entry(b"f", field(2, b"\x0d1234\x0d5678"))), b"")
    yield (
        "value_first",
        two(field(1, field(1, field(2, field(3, b"\x08\x05")) + unknown + field(1, b"i"))), b""),
    )
    yield (
        "in_pieces",
        two(field(1, number + field(1, field(2, field(3, b"\x08\x05")) * 2)), field(1, number)),
    )
    yield "another_type", two(field(1, entry(b"i", field(2, b""))), whole)
    yield "too_many", two(field(1, entry(b"i", field(3, field(1, b"12")))), whole)
    yield "odd_floats", two(field(1, number + entry(b"f", field(2, field(1, b"123")))), whole)
    numbers = entry(b"I", field(3, field(1, varint(1) + varint(300) + varint(1 << 20))))
    words = entry(b"B", field(1, field(1, b"one") + field(1, b"") + field(1, b"three")))
    pairs = entry(b"F", field(2, field(1, struct.pack("<4f", 1, 2, 3, 4))))
    lists = field(1, number + numbers + words + pairs)
    yield "lists", two(lists, field(1, pairs + number + words + words))
    yield (
        "empty_lists",
        two(field(1, number + entry(b"I", field(3, b"")) + entry(b"B", b"")), lists),
    )
    yield "half_a_pair", two(field(1, number + entry(b"F", field(2, field(1, b"1234")))), lists)
    yield "list_of_another_type", two(field(1, number + entry(b"B", field(3, b"\x08\x05"))), lists)
    yield "refused_within_a_list", two(field(1, numbers + number + words[:-1]), lists)
    yield "cut", two(whole[:-1], whole[:5])
    yield "long_varint", two(field(1, entry(b"i", field(3, b"\x08" + b"\xff" * 9 + b"\x7f"))), b"")
    yield "endless_varint", two(field(1, entry(b"i", field(3, b"\x08" + b"\xff" * 11))), b"")
    yield "group", two(b"\x0b\x0c" + whole, whole)
    yield "field_zero", two(b"\x02\x00" + whole, whole)


SEEDS = {
    "tfrecord_fuzzer": tfrecord_seeds,
    "recordio_fuzzer": recordio_seeds,
    "text_line_fuzzer": text_line_seeds,
    "inflate_fuzzer": inflate_seeds,
    "stream_fuzzer": stream_seeds,
    "files_fuzzer": files_seeds,
    "state_file_fuzzer": state_file_seeds,
    "channel_name_fuzzer": channel_name_seeds,
    "example_fuzzer": example_seeds,
}


def main() -> int:
    """Writes the seeds; others in their folders stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only see whether they are all there")
    arguments = parser.parse_args()
    wrong = 0
    for target, seeds in SEEDS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds():
            path = folder / name
            if arguments.check:
                if not path.is_file() or path.read_bytes() != content:
                    print(f"{path}: not what make_corpus.py makes", file=sys.stderr)
                    wrong += 1
            else:
                path.write_bytes(content)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
