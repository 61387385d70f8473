# SPDX-License-Identifier: Apache-2.0
"""The way back: from whatever state dpkg was left in, without a network, to what the snapshot has; again is harmless.

Two rungs: apt with the package files that were kept, then dpkg with force where apt gives up (a package that must be
reinstalled, a dependency that nothing fits); or rpm, then rpm with force. What DKMS had built is put back instead of
compiled again, and images to boot from are made anew where they differ. What somebody brought to a third version
meanwhile is not touched.
"""

from typing import Dict, List, Sequence, Set, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.packages import dkms, guard, initramfs
from chaosgpu.agent.packages.brought import remove_empty
from chaosgpu.agent.packages.change import DPKG
from chaosgpu.agent.packages.dkms_stand_in import KEPT, stand_in
from chaosgpu.agent.packages.facts import Facts, look
from chaosgpu.agent.packages.fingerprint import fingerprint
from chaosgpu.agent.packages.judge import foreign_files, strangers
from chaosgpu.agent.packages.locks import wait_free
from chaosgpu.agent.packages.marks import set_auto, set_wanted
from chaosgpu.agent.packages.plan import FORCES, Change
from chaosgpu.agent.packages.policy import local_only
from chaosgpu.agent.packages.saved import put_back
from chaosgpu.agent.packages.snapshot import Snapshot
from chaosgpu.agent.packages.stage import sync_file
from chaosgpu.agent.packages.tools import Tools, searched
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["restore"]

_PURGE = ("--purge", "--force-remove-reinstreq", "--force-depends", "--force-hold")
_INSTALL = (
    "--install", "--force-depends", "--force-downgrade", "--force-overwrite", "--force-confdef", "--force-confold",
    "--force-hold",
)  # fmt: skip


def restore(tools: Tools, snapshot: Snapshot, within_s: float) -> None:
    """Go back; whether it was reached is told by `judge.judge`, which reads everything back."""
    way = _Way(tools, snapshot, tools.now_s() + within_s)
    wait_free(tools, way.left_s())
    way.packages()
    way.marks()
    way.files()
    way.images()


class _Way:
    """One way back, with its end."""

    def __init__(self, tools: Tools, snapshot: Snapshot, end_s: float) -> None:
        self._tools, self._snapshot, self._end_s = tools, snapshot, end_s
        self._first = ""

    def left_s(self) -> float:
        """Return what is left of its time, and a second at least: a question more does not matter."""
        return max(1.0, self._end_s - self._tools.now_s())

    def packages(self) -> None:
        """Climb the ladder; a rung that is not needed is not taken."""
        facts = look(self._tools)
        if not self._wrong(facts):
            return
        if self._tools.rpm:
            self._by_rpm()
            return
        self._stand_before_dkms()
        if facts.unfinished:
            self._run(self._tools.dpkg("--configure", "-a"))  # it may fail: the package is on its way out
        for rung in (self._by_apt, self._by_dpkg):
            wrong = self._wrong(look(self._tools))
            if not wrong:
                break
            rung(wrong)
        for path in dkms.installed_files(self._tools, self._snapshot.built):
            sync_file(path)  # DKMS itself does not

    def marks(self) -> None:
        """Give each package its marks as they were: hold, automatic."""
        facts = look(self._tools)
        theirs = strangers(self._snapshot, facts)
        stood = values.mapping(self._snapshot.fingerprint, "packages")
        wants = [
            (name, str(stood[name]).split(" ")[1])
            for name in self._snapshot.names
            if name not in theirs and name in facts.packages and stood.get(name) != "absent"
        ]
        set_wanted(self._tools, [(name, want) for name, want in wants if facts.packages[name].want != want])
        auto = values.mapping(self._snapshot.fingerprint, "auto")
        for mark in (True, False):
            named = [name for name, _ in wants if (name in auto) is mark and (name in facts.auto) is not mark]
            set_auto(self._tools, named, auto=mark)

    def files(self) -> None:
        """Put back the files of /etc that the change has changed; what somebody edited since stays."""
        snapshot = self._snapshot
        if self._tools.rpm:
            self._remove_leavings()
        theirs = foreign_files(self._tools, snapshot, look(self._tools))
        stood = values.mapping(snapshot.fingerprint, "managed")
        for name in self._changed(stood):
            if name not in theirs:
                put_back(self._tools, snapshot.folder / "etc", name, snapshot.kept)
        guard.clear(self._tools)
        remove_empty(self._tools, snapshot.brought.folders)

    def images(self) -> None:
        """Make the images to boot from anew whose part of the driver is not as it was."""
        snapshot = self._snapshot
        if "initramfs" in snapshot.fingerprint:
            stood = values.mapping(snapshot.fingerprint, "initramfs")
            now: JsonObject = {**initramfs.contents(self._tools, snapshot.folder, stood)}
            kernels = initramfs.to_renew(stood, now)
            initramfs.renew(self._tools, kernels, self.left_s)

    def _stand_before_dkms(self) -> None:
        """Have what DKMS had built put in its place; a kept file that was damaged means to compile."""
        snapshot = self._snapshot
        coming = {dkms.source_of(path) for path in snapshot.brought.files} - {""}
        if (snapshot.built or coming) and dkms.is_intact(snapshot.dkms / KEPT, snapshot.built):
            self._first = stand_in(self._tools, snapshot.dkms, coming)

    def _changed(self, stood: "Dict[str, values.JsonValue]") -> List[str]:
        from chaosgpu.agent.packages.files import absent, managed  # noqa: PLC0415 (the last step alone needs it)

        now = managed(self._tools, self._snapshot.watched)
        return [name for name in sorted({*stood, *now}) if stood.get(name, absent) != now.get(name, absent)]

    def _wrong(self, facts: Facts) -> List[Change]:
        """Return what is not as it was: its version, its state, one of its files."""
        theirs = strangers(self._snapshot, facts)
        # One that was only watched has no package file here: what happened to it is told, not mended.
        mine = [one for one in self._snapshot.changes if one.name not in theirs and one.kind != "same"]
        now = fingerprint(self._tools, facts, [change.name for change in mine])
        parts = [part for part in ("files", "dkms") if part in self._snapshot.fingerprint]
        torn = {name for part in parts for name in _unequal(self._snapshot.fingerprint, now, part)}
        return [change for change in mine if _off(change, facts) or change.name in torn]

    def _by_apt(self, wrong: Sequence[Change]) -> None:
        files, extra = self._sides(wrong)
        searches = (f"DPkg::Path={searched(self._first)}",) if self._first else ()  # else apt has its own
        options = (*DPKG, f"DPkg::Lock::Timeout={self.left_s():.0f}", *searches)
        spelled = [*local_only(self._snapshot.folder), *(part for option in options for part in ("-o", option))]
        words = ("-f", "--reinstall", "--purge", "install", *files, *(f"{name}-" for name in extra))
        self._run(self._tools.apt("apt-get", *spelled, *FORCES, *words))

    def _by_dpkg(self, wrong: Sequence[Change]) -> None:
        files, extra = self._sides(wrong)
        if extra:
            self._run(self._tools.dpkg(*_PURGE, *extra))
        if files:
            self._run(self._tools.dpkg(*_INSTALL, *files))

    def _by_rpm(self) -> None:
        from chaosgpu.agent.packages.rpm import moving  # noqa: PLC0415 (most hosts are of the other kind)

        for rung in range(2):
            wrong = self._wrong(look(self._tools))
            if not wrong:
                return
            for words in moving.rungs(*self._sides(wrong))[rung]:
                self._run(words)

    def _remove_leavings(self) -> None:
        from chaosgpu.agent.packages.rpm import moving  # noqa: PLC0415 (most hosts are of the other kind)

        sides = (("before", self._snapshot.before), ("after", self._snapshot.after))
        files = [self._snapshot.folder / side / one.file for side, found in sides for one in found.values()]
        moving.remove_leavings(self._tools, [path for path in files if path.is_file()])

    def _sides(self, wrong: Sequence[Change]) -> Tuple[List[str], List[str]]:
        """Return the package files to install and the names of what has to go."""
        snapshot = self._snapshot
        files = [snapshot.file("before", snapshot.before[one.name]) for one in wrong if one.before is not None]
        return files, [one.name for one in wrong if one.before is None]

    def _run(self, words: Sequence[str]) -> None:
        """Run one step and judge it by what is there afterwards alone; it goes on if we are ended."""
        wait_free(self._tools, self.left_s())
        self._tools.run(words, self.left_s(), outlives_us=True, read_back=True, first=self._first)


def _unequal(before: JsonMapping, now: JsonMapping, part: str) -> Set[str]:
    """Return the packages that differ in a part of their fingerprint."""
    one, other = values.mapping(before, part), values.mapping(now, part)
    return {key.split(" ")[0] for key in {*one, *other} if one.get(key) != other.get(key)}


def _off(change: Change, facts: Facts) -> bool:
    one = facts.packages.get(change.name)
    if one is None:
        return change.before is not None
    return change.before is None or one.version != change.before or one.status != "installed" or one.flag != "ok"
