"""One worker's place to run pipelines in: its box, filled, run in, read and emptied."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from outlive_harness.disk.mounts import Mount, below, detach
from outlive_harness.disk.power import State
from outlive_harness.disk.tree import WHOLE, Tree, attributes, copy_tree, readable, remove_tree, scan
from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.made import Made
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.intercept.task import file_system
from outlive_harness.launch import traced
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.run import Ran, run
from outlive_harness.launch.zygote import Preload, Zygote, ZygoteError
from outlive_harness.trace import INSTALLS, Op

from .checked import Checked, checked
from .still import LARGE, Still
from .subject import HOME, TMP, Subject

#: Seconds that a setup or a check may take.
_HELPER_LIMIT = 300.0
#: The directory in which the command line keeps what it finds.
_OWN = ".outlive"
_NO_ROOM = os.strerror(errno.ENOSPC)
#: tmpfs and ramfs, as statfs(2) calls them.
_IN_MEMORY = frozenset({0x01021994, 0x858458F6})
#: Warm interpreters that a worker has: it goes back and forth between the scenarios that are under way.
_ZYGOTES = 6
#: How often one may die until there is none in its place any more.
_LIVES = 3
#: The programs of a subject that may be forked from a zygote of their own.
BODY, CHECK = "body", "check"
#: Bytes without which a run's failure may be that of the disk that its box is on.
_LEAST_ROOM = 1 << 20
_Warm = tuple[str, str, Preload]  # subject, role, what was done beforehand


class BoxError(RuntimeError):
    """A box could not be made or read; the message says why."""


@dataclass(slots=True)
class Touched:
    """Paths that a run made: those it opened for writing, and those it installed whole."""

    written: set[str] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)

    def note(self, op: Op) -> None:
        """Take an op that is about to run."""
        if op.kind in INSTALLS:
            self.installed.add(op.target)
        elif op.kind in ("open", "write", "copy", "truncate", "mkdir", "symlink", "mknod"):
            self.written.add(op.path)

    def made(self, path: str) -> bool:
        """Tell whether the run made a path, itself or by installing a directory above it."""
        return path in self.written or self.has_installed(path)

    def has_installed(self, path: str) -> bool:
        """Tell whether a path was renamed or linked into place, alone or with a directory above it."""
        return any(path == one or path.startswith(one + "/") for one in self.installed)


class Runner:
    """Runs subjects in one box, always at the same path.

    Args:
        place: this worker's private directory.
        control: a descriptor whose hang-up abandons the run that is under way.
    """

    def __init__(self, place: Path, *, control: int | None = None) -> None:
        self.box = place / "box"
        self._place = place
        self._control = control
        self._still = Still(self.box, place / "still")
        #: temporary files outside the box that killed runs left
        self._left = Made()
        #: warm interpreters, the one that was used last at the end
        self._zygotes: dict[_Warm, Zygote] = {}
        #: which of them stand in for exec, by role
        self._warm: dict[str, _Warm] = {}
        #: why a zygote that was chosen could not serve, so that exec did; "" if each could
        self.fell_back = ""
        #: how often each died, and why it is not tried again
        self._deaths: Counter[_Warm] = Counter()
        self._unfit: dict[_Warm, str] = {}
        self.box_bytes = os.fsencode(os.path.realpath(place)) + b"/box"
        #: the same box of any worker of this session
        self._boxes = re.compile(re.sub(rb"w[0-9]{3}/box$", rb"w[0-9]{3}/box", re.escape(self.box_bytes)))
        place.mkdir(parents=True, exist_ok=True)
        #: whether an fsync costs nothing where the box is
        self._is_in_memory = file_system(os.fsencode(place)) in _IN_MEMORY

    def fill(self, source: Path | None, *, is_users: bool = False) -> None:
        """Make the box anew, as a copy of *source*, which may be the user's own directory, or empty.

        Raises:
            BoxError: the disk is full, the source cannot be read, ...
        """
        copies = self._emptied(source)
        if source is not None:
            self.pour(source, copies, is_users=is_users)

    def _emptied(self, source: Path | None) -> dict[str, str]:
        """Make the box anew, and empty; return what stays of it of what comes from *source*."""
        try:
            copies = self._still.shelve(source)
            remove_tree(self.box)
            self.box.mkdir()
        except OSError as error:
            raise BoxError(f"the box at {self.box} could not be filled: {error}") from error
        return copies

    def pour(self, source: Path, copies: Mapping[str, str] | None = None, *, is_users: bool = False) -> None:
        """Copy *source* into the box, which is there and empty; of some files there are copies already.

        Raises:
            BoxError: the disk is full, the source cannot be read, ...
        """
        try:
            skip = is_own if is_users else None
            copy_tree(source, self.box, copies=copies, skip=skip, opens=not is_users)
            self._rehome(lays=True)
        except OSError as error:
            raise BoxError(f"the box at {self.box} could not be filled: {error}") from error

    def lay_out(self, state: State, *, torn: tuple[Op, int] | None = None) -> bool:
        """Make the box anew, with what a power cut leaves; then with so much of a write, if that can be told.

        Raises:
            BoxError: the disk is full, what was recorded cannot be read, ...
        """
        copies = self._emptied(state.initial)
        try:
            same = state.write_to(self.box, copies)
            told = torn is None or _write_part(self.box, *torn)
            self._rehome()
            for path in same:
                if torn is None or path != torn[0].path:
                    self._still.lay(path)
        except OSError as error:
            raise BoxError(f"the box at {self.box} could not be filled: {error}") from error
        return told

    def _rehome(self, *, lays: bool = False) -> None:
        """Let files that name another worker's box name this one: both are one to the pipeline.

        *lays* says that all files are just as in the source that they come from.
        """
        for directory, _, names in os.walk(self.box):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.islink(path):
                    self._relink(path)
                elif os.path.isfile(path):
                    size = os.stat(path).st_size
                    if size < WHOLE:
                        self._rewrite(path)
                    if lays and size >= LARGE:
                        self._still.lay(os.path.relpath(path, self.box))

    def _relink(self, path: str) -> None:
        target = os.fsencode(os.readlink(path))
        own = self.own(target)
        if own != target:
            os.unlink(path)
            os.symlink(own, os.fsencode(path))

    def _rewrite(self, path: str) -> None:
        with readable(path):
            content = Path(path).read_bytes()
        own = self.own(content)
        if own == content:
            return
        info = os.stat(path)
        os.chmod(path, 0o600)
        with open(path, "r+b", buffering=0) as file:
            file.write(own)
        os.chmod(path, stat.S_IMODE(info.st_mode))
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    def prepare(self, subject: Subject, template: Path) -> list[str]:
        """Make the template that every box of a subject starts from: directories, input, setup.

        Return the paths outside the box that the setup opened or ran, as far as that could be seen.

        Raises:
            BoxError: the input does not exist, the setup fails, ...
        """
        source = None if subject.source is None else Path(subject.source)
        if source is not None and not source.is_dir():
            raise BoxError(f"the input {source} is not a directory")
        if source is not None and self._place.resolve().is_relative_to(source.resolve()):
            raise BoxError(f"the input {source} holds the boxes themselves; give --box-dir outside it")
        self._still.distrust()  # it is the user's, and may have changed since it was copied last
        self.fill(source, is_users=True)
        for name in (TMP, HOME):
            (self.box / name).mkdir(exist_ok=True)
        read: list[str] = []
        if subject.setup:
            ran = self._telling(subject, subject.setup)
            ran = ran or self._launch(subject, subject.setup, None, timeout=_HELPER_LIMIT)
            read = ran.reads
            if ran.failure():
                raise BoxError(f"setup {ran.failure()}\n{ran.told}".rstrip())
        self.keep(template)
        return read

    def keep(self, where: Path) -> None:
        """Copy the box as it is now.

        Raises:
            BoxError: there is no room for the copy, ...
        """
        try:
            remove_tree(where)
            where.mkdir(parents=True)
            copy_tree(self.box, where)
        except OSError as error:
            remove_tree(where)
            raise BoxError(f"the box could not be copied to {where}: {error}") from error

    def run(  # noqa: PLR0913 - one call says all of one run
        self,
        subject: Subject,
        *,
        timeout: float,
        visit: Callable[[Op, int], Answer] | None = None,
        tear: int | None = None,
        syncs: bool = True,
        grace: float = 5.0,
        kill_after: float | None = None,
        data: Keeper | bool = False,
        places: bool = True,
        reads: bool = False,
        looks: bool = False,
        promises: bool = False,
        stacks: str = "",
    ) -> Ran:
        """Run the subject's program on the box as it is. See launch.run for what is raised.

        Where a zygote was chosen for the subject it is forked from that, unless it is to tell what it reads,
        or is not intercepted, or is to leave where it is in a file, *stacks*.
        """
        return self._launch(
            subject,
            tuple(traced.command(subject.argv)) if stacks else subject.argv,
            None if reads or visit is None or stacks else BODY,
            stacks=stacks,
            timeout=timeout,
            visit=visit,
            tear=tear,
            syncs=syncs or self._is_in_memory,
            grace=grace,
            kill_after=kill_after,
            data=data,
            places=places,
            reads=reads,
            looks=looks,
            promises=promises or bool(data),
            acks=subject.acks,
        )

    def _launch(
        self,
        subject: Subject,
        argv: tuple[str, ...],
        role: str | None,
        *,
        stacks: str = "",
        **how: Any,  # noqa: ANN401 - as run() takes it
    ) -> Ran:
        """Run one of a subject's programs: forked from the zygote for its role, if one was chosen."""
        command, cwd = subject.command(argv, self.box)
        environment = subject.environment(self.box, argv)
        if stacks:
            environment = traced.environment(environment, stacks)
        visit: Callable[[Op, int], Answer] | None = how.get("visit")
        if self._still:
            if visit is None:
                self._still.distrust()
            else:
                how["visit"] = self._noting(visit)
        while True:
            chosen = self._warm.get(role) if role is not None else None
            zygote = self._zygotes[chosen] if chosen is not None and chosen[0] == subject.key() else None
            ran = None
            mounts = below(self._place)  # the box itself, where it is on a real file system
            try:
                ran = run(
                    command,
                    cwd=cwd,
                    env=environment,
                    box=self.box,
                    control=self._control,
                    spared=self.spared,
                    guarded=subject.own,
                    tmp=TMP if subject.tmp == "other" else "",
                    left=self._left,
                    zygote=zygote,
                    **how,
                )
            except ZygoteError as error:
                assert chosen is not None
                self._zygotes.pop(chosen).close()
                self.cool()
                self.fell_back = str(error)
                self._deaths[chosen] += 1
                if self._deaths[chosen] == _LIVES:
                    self._unfit[chosen] = self.fell_back
            finally:
                mounted = detach(self._place, mounts)
            if mounted:
                self._refuse_mounts(mounted[0], mounts)
            if ran is not None:
                return self._taken_in(ran)

    def _taken_in(self, ran: Ran) -> Ran:
        """Note what a run says of the box; its words are told when no box is there any more."""
        if ran.blind:
            self._still.distrust()
        if ran.failure():
            ran.stdout, ran.stderr = self._without_box(ran.stdout), self._without_box(ran.stderr)
        return ran

    def _without_box(self, text: str) -> str:
        """Return a text with paths in the box as they are from there."""
        for box in {str(self.box), os.fsdecode(self.box_bytes)}:
            text = text.replace(box + os.sep, "").replace(box, "{box}")
        return text

    def _refuse_mounts(self, point: str, before: list[Mount]) -> NoReturn:
        """Say what a run left mounted in its box: that is neither a state of it nor ours to remove."""
        what = f"the pipeline left something mounted in its box, at {os.path.relpath(point, self.box)}"
        if below(self._place) != before:
            raise BoxError(f"{what}; it cannot be unmounted, and nothing there was touched: unmount {point}")
        raise BoxError(f"{what}: what lies there is not judged; it was unmounted")

    def _noting(self, visit: Callable[[Op, int], Answer]) -> Callable[[Op, int], Answer]:
        """Note what ops are about, while a run makes them."""

        def noting(op: Op, number: int) -> Answer:
            self._still.note(op)
            return visit(op, number)

        return noting

    @property
    def spared(self) -> list[int]:
        """Processes that are no part of any run."""
        return [zygote.pid for zygote in self._zygotes.values()]

    def is_warm(self, subject: Subject) -> bool:
        """Tell whether runs of a subject are forked from a zygote."""
        return BODY in self._warm and self._warm[BODY][0] == subject.key()

    def warm(self, subject: Subject, preload: Preload, role: str = BODY) -> tuple[str, ...]:
        """Have a zygote for a subject from here on; return the modules that it cannot have imported.

        Raises:
            ZygoteError: there can be none.
        """
        wanted = subject.key(), role, preload
        self._warm.pop(role, None)
        zygote = self._zygotes.pop(wanted, None)
        if wanted in self._unfit:
            raise ZygoteError(self._unfit[wanted])
        if zygote is None:
            while len(self._zygotes) >= _ZYGOTES:
                oldest = next(one for one in self._zygotes if one not in self._warm.values())
                self._zygotes.pop(oldest).close()
            wanted_argv = subject.argv if role == BODY else self._check_argv(subject)
            argv, cwd = subject.command(wanted_argv, self.box)
            env = subject.environment(self.box, wanted_argv)
            try:
                zygote = Zygote(argv, cwd=cwd, env=env, preload=preload)
            except ZygoteError as error:
                self._unfit[wanted] = str(error)
                raise
        self._zygotes[wanted] = zygote
        self._warm[role] = wanted
        return zygote.bad

    def choose_start(self, subject: Subject, preload: Preload | None, check: Preload | None = None) -> None:
        """Have zygotes that stand in for exec, where there is anything to preload and they can be had."""
        self.cool()
        for role, wanted in ((BODY, preload), (CHECK, check)):
            if wanted is not None:
                self.box.mkdir(exist_ok=True)
                try:
                    self.warm(subject, wanted, role)
                except ZygoteError as error:
                    self.fell_back = str(error)

    def cool(self) -> None:
        """Execute what is run from here on."""
        self._warm.clear()

    def check(self, subject: Subject, acks: Sequence[str] = (), *, reads: bool = False) -> Checked:
        """Run the subject's check on the box; *reads* is whether to tell what it reads."""
        if subject.check_takes_acks:
            self._said.write_text(json.dumps(list(acks)))
        self._checked.unlink(missing_ok=True)
        argv = self._check_argv(subject)
        ran = self._telling(subject, argv) if reads else None
        if ran is None:
            ran = self._launch(subject, argv, CHECK, timeout=_HELPER_LIMIT)
        told = checked(self._checked, ran)
        value = self._boxes.sub(b"{box}", os.fsencode(told.value))
        places = f"{self._place}/", f"{os.path.realpath(self._place)}/"
        read = [path for path in told.reads if not path.startswith(places)]  # what we told it is no input
        return replace(told, value=os.fsdecode(value), reads=read)

    def _check_argv(self, subject: Subject) -> tuple[str, ...]:
        assert subject.check is not None
        said = (str(self._said),) if subject.check_takes_acks else ()
        return (*subject.check, str(self._checked), *said)

    @property
    def _said(self) -> Path:
        """Where a check reads what was acknowledged."""
        return self._place / "acks"

    @property
    def _checked(self) -> Path:
        """Where it writes what came of it."""
        return self._place / "checked"

    def _telling(self, subject: Subject, argv: tuple[str, ...]) -> Ran | None:
        """Execute a setup or a check that tells what it reads; None where that cannot be seen."""
        try:
            return self._launch(
                subject, argv, None, timeout=_HELPER_LIMIT, visit=lambda _op, _number: GO, reads=True
            )
        except InterceptionRefusedError:
            return None

    def look(self, subject: Subject, *, whole: bool = False) -> Tree:
        """Read the files of the box, but for what the subject ignores unless the *whole* is wanted.

        Raises:
            BoxError: something in it cannot be read.
        """
        try:
            skip = subject.is_ignored if subject.ignore and not whole else None
            return scan(self.box, box=self.box_bytes, skip=skip, known=self._still)
        except OSError as error:
            raise BoxError(f"the box could not be read: {error}") from error

    def own(self, content: bytes) -> bytes:
        """Return a content with the box of another worker named as this one: to a pipeline they are one."""
        return self._boxes.sub(lambda _: self.box_bytes, content)

    def attributes(self, tree: Tree) -> str:
        """Return a text for the extended attributes of a tree of the box; "" if there are none."""
        found = attributes(self.box, tree)
        return repr(sorted(found.items())) if found else ""

    def expect_room(self, golden: Tree, *said: str) -> None:
        """See to it that a failure is not that of the disk that the box is on.

        Args:
            golden: what a run leaves, which is less than it needs.
            said: what was said of the failure; another box may have taken the room, and given it back.

        Raises:
            BoxError: it may be.
        """
        room = os.statvfs(self._place)
        free = room.f_bavail * room.f_frsize
        wanted = max(_LEAST_ROOM, sum(entry.size for entry in golden.values()))
        is_full = (room.f_blocks and free < wanted) or (room.f_files and not room.f_favail)
        if is_full or any(_NO_ROOM in one for one in said):
            raise BoxError(
                f"{_NO_ROOM}: the disk that boxes are on is full, with {free >> 20} MiB left at "
                f"{self._place}; choose a directory with more room by --box-dir"
            )

    def empty(self) -> None:
        """Give back the room that the box takes, after trouble with it, as far as that can be."""
        with contextlib.suppress(OSError):
            remove_tree(self.box)

    def remove_left(self) -> None:
        """Remove the temporary files that killed runs left outside the box: the recovery is over."""
        self._left.remove()

    def clear(self) -> None:
        """End the zygotes; remove this worker's directory and all in it."""
        self.cool()
        while self._zygotes:
            self._zygotes.popitem()[1].close()
        remove_tree(self._place)


def is_own(path: str) -> bool:
    """Tell whether a path of the user's input is what a run keeps there of itself."""
    return path == _OWN


def _write_part(box: Path, op: Op, length: int) -> bool:
    """Write the first bytes of what an op writes; say whether it is known what, and where."""
    content = op.content
    if content is None or not op.path:
        return False
    data = content[:length] if isinstance(content, bytes) else content.read(0, length)
    try:
        fd = os.open(box / op.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # it has no name any more, or nobody may write to it
        return False
    try:
        at = op.offset if op.offset >= 0 else os.fstat(fd).st_size
        return os.pwrite(fd, data, at) == length
    finally:
        os.close(fd)
