"""The data folder: who may own it, and each refusal, after which nothing was changed."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from largesse.books.chart import Environment
from largesse.clock import ManualClock
from largesse.errors import Rejected
from largesse.folder import (
    Folder,
    close_folder,
    open_folder,
    read_folder,
    remove,
    secret,
)
from tests.conftest import fill

Entropy = Callable[[int], bytes]
NOBODY = 65_534
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


class Door:
    """Opens and closes the one folder of a test."""

    def __init__(self, path: Path, clock: ManualClock, entropy: Entropy) -> None:
        self.path, self.clock, self.entropy = path, clock, entropy
        self.folder: Folder | None = None

    def open(self, create: Environment | None = None) -> Folder:
        now = self.clock.now()
        opened = open_folder(self.path, create=create, now=now, entropy=self.entropy)
        self.folder = opened
        return opened

    def close(self) -> None:
        if self.folder is not None:
            close_folder(self.folder)
            self.folder = None


@pytest.fixture
def door(path: Path, clock: ManualClock, entropy: Entropy) -> Iterator[Door]:
    door = Door(path, clock, entropy)
    yield door
    door.close()


def refusal(call: Callable[[], object]) -> Rejected:
    with pytest.raises(Rejected) as refused:
        call()
    return refused.value


def listing(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_folder_stays_what_it_was_made(path: Path, door: Door, clock: ManualClock) -> None:
    made = door.open(Environment.TEST)
    door.close()
    clock.advance(10**12)
    again = door.open()
    assert (again.id, again.environment, again.created_at) == (
        made.id,
        Environment.TEST,
        made.created_at,
    )
    assert read_folder(path).id == made.id


def test_a_folder_that_is_not_there_is_not_made_unasked(path: Path, door: Door) -> None:
    assert refusal(door.open).code == "data_folder_missing"
    assert not path.exists()


def test_live_and_test_money_never_share_a_folder(door: Door) -> None:
    door.open(Environment.LIVE)
    door.close()
    assert refusal(lambda: door.open(Environment.TEST)).code == "data_folder_other_environment"
    assert door.open(Environment.LIVE).environment is Environment.LIVE


def test_a_folder_of_somebody_else_is_left_alone(path: Path, door: Door) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("all my work")
    before = listing(path)
    assert refusal(lambda: door.open(Environment.TEST)).code == "data_folder_not_ours"
    assert refusal(door.open).code == "data_folder_not_ours"
    assert listing(path) == before


def test_a_file_is_no_folder(path: Path, door: Door) -> None:
    path.write_text("hello")
    assert refusal(lambda: door.open(Environment.TEST)).code == "data_folder_not_ours"


@pytest.mark.parametrize(
    "about", ["", "{", "[]", "{}", '{"format": "x"}', '{"format": 1}', '{"format": 1, "id": 2}']
)
def test_a_folder_that_does_not_say_what_it_is_is_not_ours(
    path: Path, door: Door, about: str
) -> None:
    path.mkdir()
    (path / "folder.json").write_text(about)
    assert refusal(door.open).code == "data_folder_not_ours"


def test_a_first_start_that_was_cut_off_is_begun_again(path: Path, door: Door) -> None:
    path.mkdir()
    (path / "lock").write_text("17\n")
    (path / "folder.json.new").write_text('{"form')
    assert refusal(door.open).code == "data_folder_missing"
    assert door.open(Environment.TEST).environment is Environment.TEST


def test_a_folder_of_a_newer_version_is_left_alone(path: Path, door: Door) -> None:
    path.mkdir()
    (path / "folder.json").write_text('{"format": 2, "anything": ["else"]}')
    before = listing(path)
    assert refusal(door.open).code == "data_folder_newer"
    assert refusal(lambda: door.open(Environment.TEST)).code == "data_folder_newer"
    assert listing(path) == before


def test_one_process_owns_a_folder_and_the_others_are_told_which(path: Path, door: Door) -> None:
    folder = door.open(Environment.TEST)
    refused = refusal(door.open)
    assert refused.code == "data_folder_in_use"
    assert refused.facts["process"] == str(os.getpid())
    door.close()
    assert door.open().id == folder.id


def test_a_killed_process_leaves_no_lock_behind(path: Path, door: Door, clock: ManualClock) -> None:
    door.open(Environment.TEST)
    door.close()
    script = (
        "import sys, os, signal; from pathlib import Path; from largesse.folder import open_folder;"
        f"open_folder(Path({str(path)!r}), now=1, entropy=os.urandom);"
        "print('open', flush=True); signal.pause()"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"open\n"
        assert refusal(door.open).facts["process"] == str(child.pid)
        child.kill()
        child.wait()
    door.open()


def test_those_who_share_a_folder_let_each_other_in_and_nobody_else(
    path: Path, door: Door, clock: ManualClock, entropy: Entropy
) -> None:
    made = door.open(Environment.TEST)
    door.close()
    first, second = (
        open_folder(path, shared=True, now=clock.now(), entropy=entropy) for _ in range(2)
    )
    assert first.id == second.id == made.id
    close_folder(first)
    refused = refusal(door.open)
    assert refused.code == "data_folder_in_use"
    assert refused.facts["process"] == str(os.getpid())
    close_folder(second)

    door.open()
    share = partial(open_folder, path, shared=True, now=clock.now(), entropy=entropy)
    assert refusal(share).code == "data_folder_in_use"


def test_who_is_kept_out_of_a_shared_folder_is_told_of_those_who_are_there(
    path: Path, door: Door
) -> None:
    with sharing(path, 2) as (children, _):
        pids = [str(child.pid) for child in children]
        assert sorted(str(refusal(door.open).facts["process"]).split(", ")) == sorted(pids)
        children[0].kill()
        children[0].wait()
        assert refusal(door.open).facts["process"] == pids[1]
    door.open()


def test_many_processes_make_one_folder_and_one_secret(path: Path) -> None:
    with sharing(path, 8) as (_, said):
        pass
    assert len(set(said)) == 1, said
    assert sorted(file.name for file in path.iterdir()) == ["folder.json", "lock", "web.secret"]


@contextmanager
def sharing(path: Path, number: int) -> Iterator[tuple[list[subprocess.Popen[bytes]], list[bytes]]]:
    """So many processes that share the folder, made where it is missing; what each says of it."""
    script = (
        "import os, sys; from pathlib import Path; from largesse import folder;"
        "from largesse.books.chart import Environment;"
        "print(flush=True); sys.stdin.readline();"
        f"found = folder.open_folder(Path({str(path)!r}), create=Environment.TEST, shared=True,"
        " now=10**18, entropy=os.urandom);"
        "print(found.id, folder.secret(found, 'web', lambda: os.urandom(8).hex()), flush=True);"
        "sys.stdin.readline()"
    )
    with ExitStack() as running:
        children = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for _ in range(number)
        ]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"\n"
        for child in children:  # All at the door now: let them in together.
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()
        yield children, [child.stdout.readline() for child in children if child.stdout]
        for child in children:
            child.kill()


def test_two_who_make_a_folder_for_different_money_do_not_share_it(
    path: Path, door: Door, clock: ManualClock, entropy: Entropy
) -> None:
    door.open(Environment.LIVE)
    door.close()
    share = partial(open_folder, path, shared=True, now=clock.now(), entropy=entropy)
    assert refusal(lambda: share(create=Environment.TEST)).code == "data_folder_other_environment"


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(path: Path, door: Door) -> None:
    folder = door.open(Environment.TEST)
    assert secret(folder, "sandbox", lambda: "first") == "first"
    assert secret(folder, "sandbox", lambda: "second") == "first"
    assert stat.S_IMODE((path / "sandbox.secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_beginning_afresh_takes_away_only_what_is_ours(path: Path, door: Door) -> None:
    folder = door.open(Environment.TEST)
    (path / "ledger.sqlite").write_bytes(b"old")
    (path / "photo.jpg").write_bytes(b"mine")
    remove(folder)
    door.close()
    assert list(listing(path)) == [str(path / "photo.jpg")]

    (path / "photo.jpg").unlink()
    remove(door.open(Environment.TEST))
    door.close()
    assert not path.exists()


def test_real_money_is_never_deleted(path: Path, door: Door) -> None:
    folder = door.open(Environment.LIVE)
    before = listing(path)
    assert refusal(lambda: remove(folder)).code == "data_folder_is_live"
    assert listing(path) == before


def as_nobody(path: Path, entropy: Entropy) -> str:
    """The code with which the folder refuses a user who may not write it, tried as that user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = "not refused"
        try:
            os.chdir(path.parent)  # The folders above it may be closed to that user.
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            open_folder(Path(path.name), now=1, entropy=entropy)
        except Rejected as rejected:
            code = rejected.code
        except BaseException as error:
            code = repr(error)
        finally:
            os.write(writer, code.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        code = answer.read()
    os.waitpid(child, 0)
    return code


@pytest.mark.skipif(not IS_ROOT, reason="only root can try it as another user")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_folder_this_user_may_not_write_is_refused(
    tmp_path: Path, door: Door, path: Path, entropy: Entropy, mode: int
) -> None:
    tmp_path.chmod(0o755)
    door.open(Environment.TEST)
    door.close()
    path.chmod(mode)
    before = listing(path)
    assert as_nobody(path, entropy) == "data_folder_read_only"
    assert listing(path) == before


@pytest.mark.skipif(not IS_ROOT, reason="only root can try it as another user")
def test_a_folder_with_one_file_this_user_may_not_write_is_refused(
    tmp_path: Path, door: Door, path: Path, entropy: Entropy
) -> None:
    tmp_path.chmod(0o755)
    door.open(Environment.TEST)
    door.close()
    path.chmod(0o777)
    (path / "lock").chmod(0o666)
    (path / "ledger.sqlite").write_bytes(b"")
    assert as_nobody(path, entropy) == "data_folder_read_only"
    (path / "ledger.sqlite").chmod(0o666)
    assert as_nobody(path, entropy) == "not refused"


def test_a_folder_without_write_permission_is_refused(door: Door, path: Path) -> None:
    if IS_ROOT:
        pytest.skip("root may write everything; the test above tries it as another user")
    door.open(Environment.TEST)
    door.close()
    path.chmod(0o500)
    try:
        assert refusal(door.open).code == "data_folder_read_only"
    finally:
        path.chmod(0o700)


def test_a_full_disk_is_refused_before_anything_is_begun(
    small_disk: Path, clock: ManualClock, entropy: Entropy
) -> None:
    path = small_disk / "data"

    def begin() -> None:
        create = Environment.TEST
        close_folder(open_folder(path, create=create, now=clock.now(), entropy=entropy))

    fill(small_disk / "ballast")
    refused = refusal(begin)
    assert refused.code == "disk_full"
    assert not (path / "folder.json").exists()

    (small_disk / "ballast").unlink()
    begin()
    fill(small_disk / "ballast")
    before = listing(path)
    assert refusal(begin).code == "disk_full"
    assert listing(path).keys() == before.keys()
