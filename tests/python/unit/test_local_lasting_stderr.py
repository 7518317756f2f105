# SPDX-License-Identifier: Apache-2.0
"""Standard error that may go away."""

from sagemaker_tensorflow._local.show.lasting_stderr import LastingStream


def test_it_outlives_the_stream(tmp_path):
    # At Python's exit, which closes files in any order. From 3.13 on it shows what close() raises.
    with (tmp_path / "log").open("w") as file:
        stream = LastingStream(file)
        print("a line", file=stream, flush=True)
    stream.close()
    assert (tmp_path / "log").read_text() == "a line\n"


def test_its_end_is_not_that_of_the_stream(tmp_path):
    with (tmp_path / "log").open("w") as file:
        stream = LastingStream(file)
        stream.write("a ")
        del stream
        file.write("line")
    assert (tmp_path / "log").read_text() == "a line"
