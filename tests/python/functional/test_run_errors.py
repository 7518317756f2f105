# SPDX-License-Identifier: Apache-2.0
"""``pipemode run`` with data that a reader refuses: which object it was, and which byte of it."""

import gzip
import html
import json
import re
import shutil
import textwrap

import pytest
from pipe_helpers import stream
from run_helpers import Command, write_script

pytestmark = pytest.mark.long

RECORDS = 50
SIZES = range(100, 100 + RECORDS)

READS = """
def read_records(channel="training", record_format="TFRecord", **options):
    from sagemaker_tensorflow.records import ChannelReader
    with ChannelReader(channel, record_format, **options) as reader:
        return sum(1 for _ in reader)

"""


def an_object(number, record_format="TFRecord"):
    """Records of different lengths, so that no two places look the same."""
    return stream([b"%d" % number * size for size in SIZES], record_format)


def offset_of_record(number):
    """Where a record begins in one of these objects, in TFRecord format."""
    return sum(size + 16 for size in SIZES[:number])


@pytest.fixture
def objects(tmp_path):
    """Three sound objects, to be spoiled; and what ``save`` writes them as files with."""
    folder = tmp_path / "data"
    folder.mkdir()
    contents = [bytearray(an_object(number)) for number in range(3)]

    def save(*, compress=False):
        for number, content in enumerate(contents):
            data = gzip.compress(content) if compress else content
            (folder / f"part-{number}").write_bytes(data)
        return folder

    return contents, save


@pytest.fixture
def run(tmp_path):
    """Runs a script as a job that fails; returns how it ended, all of its ways to say so checked.

    The place is in the last line, in each host's failure file, and in the report if there is one.
    """

    def run(text, *arguments, place=None, hosts=("",), base="ml", report=False):
        script = write_script(tmp_path, READS + textwrap.dedent(text))
        given = [f"--base-dir={base}", "--output-path=out", *arguments]
        given += ["--report=r.html"] if report else []
        with Command(tmp_path, script, *given) as command:
            ended = command.finish()
        assert ended.status != 0, ended.stderr
        [last] = [line for line in ended.stderr.splitlines()[-2:] if ": failed after " in line]
        said = [last]
        if report:
            page = html.unescape((tmp_path / "r.html").read_text())
            said.append(re.search("Failed after .*", page)[0])
        said += [(tmp_path / base / host / "output" / "failure").read_text() for host in hosts]
        for text in said:
            if place is None:
                assert " of the stream" not in text
            else:
                assert place in text
        return ended

    return run


@pytest.mark.parametrize("size", ["small", "large"])
def test_corrupt_record(run, objects, tmp_path, size):
    """Small objects are gathered, large ones are handed on as they are."""
    contents, save = objects
    if size == "large":
        contents[:] = [content * 20 for content in contents]
    at = offset_of_record(17)
    contents[1][at + 12] ^= 1
    folder = save()
    position = len(contents[0]) + at
    run(
        "read_records()",
        f"--channel=training={folder}",
        place=f"channel 'training' epoch 0, byte {position} of the stream is byte {at} of "
        f"{folder}/part-1 (object 2 of 3)",
        report=True,
    )


def test_truncated_object(run, objects):
    """The record that is cut is in it, whatever comes after."""
    contents, save = objects
    at = offset_of_record(RECORDS - 1)
    del contents[1][-5:]
    folder = save()
    run(
        "read_records()",
        f"--channel=training={folder}",
        place=f"epoch 0, byte {len(contents[0]) + at} of the stream is byte {at} of "
        f"{folder}/part-1 (object 2 of 3)",
    )


def test_truncated_last_object(run, objects):
    contents, save = objects
    at = offset_of_record(RECORDS - 1)
    del contents[2][-5:]
    folder = save()
    run(
        "read_records()",
        f"--channel=training={folder}",
        place=f"is byte {at} of {folder}/part-2 (object 3 of 3)",
    )


def test_object_of_another_format(run, objects):
    contents, save = objects
    contents[2][:] = an_object(2, "RecordIO")
    folder = save()
    position = len(contents[0]) + len(contents[1])
    run(
        "read_records()",
        f"--channel=training={folder}",
        place=f"channel 'training' epoch 0, byte {position} of the stream is byte 0 of "
        f"{folder}/part-2 (object 3 of 3)",
    )


def test_order_differs_from_epoch_to_epoch(run, objects, tmp_path):
    """The bad object is found wherever it comes; earlier epochs skip what is corrupt."""
    contents, save = objects
    at = offset_of_record(3)
    contents[1][at + 12] ^= 1
    folder = save()
    seen = set()
    for epoch in range(4):
        ended = run(
            f"""
            for _ in range({epoch}):
                read_records(max_corrupted_records_to_skip=1)
            read_records()
            """,
            f"--channel=training={folder},shuffle-seed=3",
            place=f"of the stream is byte {at} of {folder}/part-1 (object ",
            base=f"ml{epoch}",
        )
        found = re.search(rf"epoch {epoch}, byte (\d+) of .* \(object (\d) of 3\)", ended.stderr)
        position, number = int(found[1]), int(found[2])
        assert position == (number - 1) * len(contents[0]) + at
        seen.add(number)
    assert len(seen) > 1


def test_script_that_fails_after_further_epochs(run, objects):
    contents, save = objects
    at = offset_of_record(3)
    contents[1][at + 12] ^= 1
    folder = save()
    run(
        """
        from sagemaker_tensorflow.records import CorruptRecordError
        try:
            read_records()
        except CorruptRecordError as error:
            kept = error
        read_records(max_corrupted_records_to_skip=1)
        raise kept
        """,
        f"--channel=training={folder}",
        place=f"channel 'training' epoch 0, byte {len(contents[0]) + at} of the stream is byte "
        f"{at} of {folder}/part-1 (object 2 of 3)",
    )


@pytest.mark.parametrize("wrapper", [None, "RecordIO"])
def test_gzip_that_the_host_inflates(run, objects, wrapper):
    contents, save = objects
    at = offset_of_record(17)
    contents[1][at + 12] ^= 1
    folder = save(compress=True)
    channel = f"--channel=training={folder},compression=Gzip"
    position = len(contents[0]) + at
    what = f"what {folder}/part-1 inflates to (object 2 of 3)"
    if wrapper is None:
        place = f"epoch 0, byte {position} of the stream is byte {at} of {what}"
        run("read_records()", channel, place=place)
        return
    # The whole object is one record, which is too long for this reader.
    contents[1][:] = bytes(100_000)
    save(compress=True)
    run(
        "read_records(record_format='RecordIO', max_record_bytes=50_000)",
        channel + ",wrapper=RecordIO",
        place=f"epoch 0, byte {len(contents[0]) + 8 + -len(contents[0]) % 4} of the stream is in "
        f"the record that holds {what}",
    )


def test_gzip_that_the_reader_inflates(run, objects):
    """What is wrong with the compressed bytes can be told."""
    _, save = objects
    folder = save(compress=True)
    sizes = [path.stat().st_size for path in sorted(folder.iterdir())]
    damaged = bytearray((folder / "part-1").read_bytes())
    damaged[-6] ^= 1  # of the checksum
    (folder / "part-1").write_bytes(damaged)
    taken = sum(sizes[:2]) - 5
    run(
        "read_records(compression_type='GZIP')",
        f"--channel=training={folder}",
        place=f"channel 'training' epoch 0, near compressed byte {taken} of the stream: byte "
        f"{sizes[1] - 6} of {folder}/part-1 (object 2 of 3)",
    )


def test_gzip_that_is_truncated(run, objects):
    """It shows in the object after it, so both are named."""
    _, save = objects
    folder = save(compress=True)
    whole = (folder / "part-1").read_bytes()
    (folder / "part-1").write_bytes(whole[:-4])
    ended = run(
        "read_records(compression_type='GZIP')",
        f"--channel=training={folder}",
        place=f"if {folder}/part-1, which comes before it, is cut short, that shows here",
    )
    assert re.search(rf"of the stream: byte \d of {folder}/part-2 \(object 3 of 3\);", ended.stderr)


def test_byte_that_the_reader_has_inflated(run, objects):
    """It is none of the stream's, and nothing wrong is said of it."""
    contents, save = objects
    at = offset_of_record(17)
    contents[1][at + 12] ^= 1
    folder = save(compress=True)
    ended = run("read_records(compression_type='GZIP')", f"--channel=training={folder}")
    assert f"record {RECORDS + 17} at byte {len(contents[0]) + at}: " in ended.stderr


def test_compression_that_is_not_announced(run, objects):
    """The first byte is the first one, inflated or not."""
    _, save = objects
    folder = save(compress=True)
    run(
        "read_records()",
        f"--channel=training={folder}",
        place=f"epoch 0, byte 0 of the stream is byte 0 of {folder}/part-0 (object 1 of 3)",
    )


def test_augmented_manifest(run, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(bytes(1000 if number < 2 else 100_000))
        lines.append(json.dumps({"label": str(number), "image-ref": f"{number}.jpg"}))
    (folder / "manifest").write_text("\n".join(lines))
    position = 2 * (8 + 4 + 8 + 1000) + 8 + 4
    run(
        "read_records(record_format='RecordIO', max_record_bytes=50_000)",
        f"--channel=training={folder / 'manifest'},attributes=label,image-ref",
        place=f"epoch 0, byte {position} of the stream is in the record that holds "
        f"{folder}/2.jpg (value 6 of 6)",
    )


@pytest.mark.parametrize("seen", ["own paths", "/opt/ml"])
@pytest.mark.parametrize(
    "form",
    [
        [],
        pytest.param(
            ["-psagemaker_mpi_enabled=true"],
            marks=pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun"),
        ),
    ],
    ids=["plain", "MPI"],
)
def test_two_hosts(run, objects, form, seen):
    """Each has another share of the objects, and the host that failed is named."""
    contents, save = objects
    at = offset_of_record(17)
    contents[1][at + 12] ^= 1
    folder = save()
    is_known = form == [] or seen == "own paths"
    run(
        """
        if os.environ["SM_CURRENT_HOST"] == "algo-1":
            read_records()
            time.sleep(1000)
        read_records()
        """,
        f"--channel=training={folder},distribution=ShardedByS3Key",
        "--instance-count=2",
        *form,
        *(["--opt-ml"] if seen == "/opt/ml" else []),
        # The ranks of MPI share their output, and here the name of the FIFO.
        place=f"channel 'training' epoch 0 on algo-2, byte {at} of the stream is byte {at} of "
        f"{folder}/part-1 (object 1 of 1)"
        if is_known
        else None,
        hosts=("algo-1", "algo-2"),
        report=True,
    )


def test_several_channels(run, objects, tmp_path):
    """The last error of each."""
    contents, save = objects
    at = offset_of_record(3)
    contents[1][at + 12] ^= 1
    folder = save()
    ended = run(
        """
        try:
            read_records("training_1")
        finally:
            read_records("training")
        """,
        f"--channel=training={folder}",
        f"--channel=training_1={folder}",
        place=f"channel 'training' epoch 0, byte {len(contents[0]) + at} of the stream is byte",
    )
    assert "channel 'training_1' epoch 0, byte" in ended.stderr.splitlines()[-1]


def test_own_failure_file(run, objects, tmp_path):
    """It stays, with what the script cannot know after it."""
    contents, save = objects
    at = offset_of_record(17)
    contents[1][at + 12] ^= 1
    folder = save()
    place = (
        f"channel 'training' epoch 0, byte {len(contents[0]) + at} of the stream is byte {at} of "
        f"{folder}/part-1 (object 2 of 3)"
    )
    run(
        """
        try:
            read_records()
        except Exception as error:
            Path("../output/failure").write_text(f"my reason: {error}")
        os._exit(1)
        """,
        f"--channel=training={folder}",
        place=place,
    )
    failure = (tmp_path / "ml" / "output" / "failure").read_text()
    assert failure.startswith("my reason: channel 'training' epoch 0 (")
    assert failure.endswith(f"\n{place}\n")


@pytest.mark.parametrize("text", ["sys.exit(3)", "read_records('other')"])
def test_other_failures_name_no_object(run, objects, text):
    _, save = objects
    run(
        f"""
        print("channel 'training' epoch 0 (/elsewhere/training_0): record 1 at byte 9: x",
              file=sys.stderr)
        {text}
        sys.exit(1)
        """,
        f"--channel=training={save()}",
        f"--channel=other={save()}",
    )


@pytest.mark.slow
def test_error_of_the_op(run, objects):
    contents, save = objects
    at = offset_of_record(17)
    contents[1][at + 12] ^= 1
    folder = save()
    run(
        """
        from sagemaker_tensorflow import PipeModeDataset
        for _ in PipeModeDataset("training", "TFRecord").batch(4):
            pass
        """,
        f"--channel=training={folder}",
        place=f"channel 'training' epoch 0, byte {len(contents[0]) + at} of the stream is byte "
        f"{at} of {folder}/part-1 (object 2 of 3)",
    )
