"""The directory of a server in a place that others share: what they left there is not believed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from relight.config.guarded import problem_of, read_endpoint
from relight.config.local import LocalServer
from relight.config.server import EmbeddedServer
from relight.errors import InvalidValueError

ME, ROOT, OTHER = 1000, 0, 1001


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".relight"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_in_which_everybody_may_write_is_refused_and_nothing_is_left_in_it(
    directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)

    with pytest.raises(InvalidValueError, match=r"^local_directory \(RELIGHT_LOCAL_DIRECTORY\): .*writable.*chmod o-w"):
        LocalServer.join(directory)
    with pytest.raises(InvalidValueError, match=r"^directory: .*writable for everybody"):
        EmbeddedServer(directory).start()

    assert list(directory.iterdir()) == []


def test_nor_is_one_believed_to_which_a_link_leads(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o777)
    directory.symlink_to("theirs")

    with pytest.raises(InvalidValueError, match="writable for everybody"):
        LocalServer.join(directory)


def test_a_directory_of_ones_own_may_be_a_link_and_its_group_may_write(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume").chmod(0o2775)
    directory.symlink_to("volume")

    with LocalServer.join(directory) as local:
        assert local.endpoint() is not None


@pytest.mark.parametrize(
    ("kind", "mode", "owner", "user", "problem"),
    [
        (stat.S_IFDIR, 0o700, ME, ME, ""),
        (stat.S_IFDIR, 0o755, ROOT, ME, ""),
        (stat.S_IFDIR, 0o775, ME, ME, ""),
        (stat.S_IFDIR, 0o700, OTHER, ROOT, ""),
        (stat.S_IFLNK, 0o777, ME, ME, ""),
        (stat.S_IFDIR, 0o755, OTHER, ME, "is of user 1001"),
        (stat.S_IFLNK, 0o777, OTHER, ME, "is of user 1001"),
        (stat.S_IFDIR, 0o777, ME, ME, "is writable for everybody"),
        (stat.S_IFDIR, 0o777, OTHER, ROOT, "is writable for everybody"),
    ],
)
def test_a_directory_is_used_if_only_this_user_root_or_a_group_may_have_written_in_it(
    kind: int, mode: int, owner: int, user: int, problem: str
) -> None:
    assert problem_of(mode=kind | mode, owner=owner, user=user) == problem


@pytest.mark.parametrize(
    "text",
    [
        '{"guard": -1, "server": 4000, "port": 4222}',
        '{"guard": 4000, "server": -1, "port": 4222}',
        '{"guard": 4000, "server": 0, "port": 4222}',
        '{"guard": 4000, "server": 1, "port": 4222}',
        '{"guard": 4000.5, "server": 4000, "port": 4222}',
        '{"guard": 4000, "server": 4000, "port": 0}',
        '{"guard": 4000, "server": 4000, "port": 65536}',
        '{"guard": ' + "[" * 100_000,
    ],
)
def test_a_state_that_names_no_process_or_no_port_is_none(directory: Path, text: str) -> None:
    directory.mkdir()
    (directory / "state.json").write_text(text, encoding="utf-8")

    # Who believed in it would end processes that are none of his business: -1 are all of this user.
    assert read_endpoint(directory) is None
