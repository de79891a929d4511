"""Which directories must be watched for a file, with the kernel's own word on it."""

from __future__ import annotations

from pathlib import Path

from orchestrator.agent.sources.paths import directories, signature
from orchestrator.kernel.inotify import Inotify


def test_every_link_on_the_way_is_watched(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "file").write_text("1")
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "file").symlink_to("../data/file")
    assert directories(str(tmp_path / "conf" / "file")) == {
        str(tmp_path / "conf"),  # the file's own link
        str(tmp_path),  # the link to the directory
        str(tmp_path / "one"),  # the file
    }


def test_what_is_not_there_is_waited_for_where_it_would_begin(tmp_path: Path) -> None:
    assert directories(str(tmp_path / "a" / "b" / "c")) == {str(tmp_path)}


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert str(tmp_path) in directories(str(tmp_path / "a"))


def test_a_rename_over_a_file_is_heard_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("0")
    inotify = Inotify()
    inotify.follow(directories(str(file)))
    try:
        for text in "12":
            (tmp_path / "beside").write_text(text)
            (tmp_path / "beside").rename(file)
            assert {"file", "beside"} <= {change.name for change in inotify.read()}
        assert inotify.read() == []
        inotify.follow(set())
        file.write_text("3")
        assert not [change for change in inotify.read() if change.name]
    finally:
        inotify.close()


def test_the_signature_is_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    before = signature([str(file)])
    file.write_text("1")
    written = signature([str(file)])
    file.touch()
    assert before != written == signature([str(file)])
