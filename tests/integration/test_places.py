"""What another user of the machine has put in our way is refused and left as it is."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from flashsale.stack import servers
from flashsale.stack.errors import StackError
from flashsale.stack.places import kept_secret, own_folder, read_secret, take_over, write_secret
from flashsale.stack.servers import PostgreSQL

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user owns")


def test_a_folder_of_ours_is_made_and_found_again(tmp_path):
    assert own_folder(tmp_path / "ours", mode=0o700) == own_folder(tmp_path / "ours")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o700


def test_a_symbolic_link_in_the_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").symlink_to(tmp_path / "theirs")

    with pytest.raises(StackError, match="symbolic links"):
        own_folder(tmp_path / "ours")


@as_root
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "ours").mkdir()
    os.chown(tmp_path / "ours", NOBODY, NOBODY)

    with pytest.raises(StackError, match="belongs to the user 65534"):
        own_folder(tmp_path / "ours")
    assert own_folder(tmp_path / "ours", owners=[NOBODY])


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours").chmod(0o777)

    with pytest.raises(StackError, match="everybody may write"):
        own_folder(tmp_path / "ours")


def _symlink(place, victim):
    place.symlink_to(victim)


def _hard_link(place, victim):
    place.hardlink_to(victim)


def _pipe(place, _victim):
    os.mkfifo(place)


@pytest.mark.parametrize("trap", [_symlink, _hard_link, _pipe])
def test_no_secret_is_written_through_what_stands_in_its_place(tmp_path, trap):
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    trap(tmp_path / "secret", victim)

    for use in (lambda path: write_secret(path, "ours"), kept_secret):
        with pytest.raises(StackError):
            use(tmp_path / "secret")
    assert victim.read_text() == "as it was"


@as_root
def test_a_secret_that_another_user_made_is_not_taken_for_ours(tmp_path):
    (tmp_path / "secret").write_text("known to them")
    os.chown(tmp_path / "secret", NOBODY, NOBODY)

    with pytest.raises(StackError, match="not a regular file of ours"):
        read_secret(tmp_path / "secret")


def test_a_secret_is_made_up_once_and_others_cannot_read_it(tmp_path):
    first = kept_secret(tmp_path / "secret")

    assert kept_secret(tmp_path / "secret") == first
    assert len(first) == 48
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


@as_root
def test_former_folder_is_taken_over_only_if_it_is_ours(tmp_path):
    ours, theirs, link = tmp_path / "ours", tmp_path / "theirs", tmp_path / "link"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "data").write_text("x")
    os.chown(theirs, NOBODY, NOBODY)
    link.symlink_to(ours)

    for former in (theirs, link):
        take_over(former, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    take_over(ours, tmp_path / "new")

    assert (tmp_path / "new" / "data").read_text() == "x"
    assert (theirs / "data").read_text() == "x"


@as_root
@pytest.mark.slow
def test_postgresql_starts_beside_what_another_user_prepared_in_the_former_place(tmp_path):
    """``tmp_path`` is closed to others, so the data cannot lie there."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "postgresql.password").write_text("as it was")
    server = PostgreSQL(tmp_path)
    trap = Path("/var/tmp") / f"flashsale-{server._outside_name}"
    trap.symlink_to(victim)
    try:
        server.start()
        assert server.outside_home is not None
        assert server.outside_home.parent == servers._OUTSIDE
        assert server.outside_home.stat().st_uid == 0
        assert (server.outside_home / "postgresql").stat().st_uid == NOBODY
        assert [path.name for path in victim.iterdir()] == ["postgresql.password"]
        assert (victim / "postgresql.password").read_text() == "as it was"
    finally:
        server.stop()
        trap.unlink()
        shutil.rmtree(server.outside_home)
