# SPDX-License-Identifier: Apache-2.0
"""disk.fill: take room on the file system under a folder up to a level, by one file of ours."""

import errno
import os
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import Forbidden, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.disk_level import DiskParams, parse_level
from chaosgpu.agent.faults.file_system import IN_MEMORY, MIB, WITHOUT_FALLOCATE, FileSystem, Space, mounted_on, space_of
from chaosgpu.agent.faults.fill_file import DELETED, MOVED, PREFIX, FillFile, take
from chaosgpu.agent.values import JsonMapping, JsonObject

INTERVAL_S = 0.3
FILLED_WITHIN_S = 8.0  # the lease is locked meanwhile, and who wants to undo it waits for ten


class DiskFill(Fault[DiskParams]):
    """A disk that runs full under a service's data: its writes fail, and so do all others there."""

    name = "disk.fill"
    summary = "Fills the file system under a folder to a level by one file of ours; the undo gives it back."
    plane = "effect"
    tier = "T1"
    fidelity = "exact"
    privilege = "root"
    claimed = "the room on the file system, by its device"
    refuses = (
        "a path that is relative, is no folder, or leads elsewhere by a link; the file system on which the agent "
        "keeps its leases, always; the host's root file system without `allow_root`; tmpfs, which is memory, without "
        "`allow_memory`; a read-only one; a folder with a quota of its own; all types but ext2, ext3, ext4, xfs, "
        "btrfs, f2fs and tmpfs; `take_reserved` where nothing is kept for root (all but ext2, ext3 and ext4); one "
        "that is as full already; under `CHAOSGPU_AGENT_HOME` all that are not mounted beside that home"
    )
    traps = (
        "Everybody who writes to that file system gets ENOSPC, not the service alone: that is the point. Levels count "
        "as `df` does, without what ext4 keeps for root (5 percent as it is made); a service of root goes on there "
        "unless `take_reserved` is given. It fills once: what others free afterwards is free, and beyond the tolerance "
        "the fault is no longer seen; a database that gives back its own temporary files may do that. What a service "
        "was refused it may have lost for good, and a damaged database is not repaired by the undo. Without fallocate "
        "(ext2, ext3) each block is written, and what is not full within 8 s is unverified. btrfs shows the room as "
        "free with its next commit only, up to 30 s after the undo; who writes has it at once. Inodes are not taken."
    )

    def parse(self, raw: JsonMapping) -> DiskParams:
        """Read the values alone."""
        return parse_level(raw, self.name)

    def check(self, params: DiskParams, context: Context) -> None:
        """Refuse what must not be filled, and what is as full already."""
        system = mounted_on(params.folder)
        _refuse_dangerous(system, params, context)
        now, missing = space_of(params.folder), params.missing()
        if missing <= params.tolerance(now):
            free = now.free(root=params.take_reserved)
            raise NoEffect(
                f"{params.folder} has {free // MIB} MiB free and shall have {params.goal_free(now) // MIB}, "
                f"with a tolerance of {params.tolerance(now) // MIB}: it is as full already, so filling it would do "
                "nothing. Ask for a higher level, or for a smaller tolerance_mib."
            )

    def claims(self, params: DiskParams, context: Context) -> Tuple[str, ...]:  # noqa: ARG002 (contract)
        """Name the file system's room: one lease fills it at a time."""
        return (mounted_on(params.folder).claim,)

    def capture(self, params: DiskParams, context: Context) -> JsonObject:
        """Lay out where our file will lie, and note what was free."""
        system, now = mounted_on(params.folder), space_of(params.folder)
        lease = os.path.basename(context.lease_dir or "none")  # noqa: PTH119 (pathlib costs 9 ms)
        file = FillFile(system.top, f"{PREFIX}{lease}", system.inode, system.device, system.serial)
        file.refuse_taken()
        return {"file": file.to_json(), "kind": system.kind, **_shown(now), "takes_mib": params.missing() // MIB}

    def inject(self, params: DiskParams, prior: JsonMapping, context: Context) -> None:
        """Make the file and give it what is missing to the level."""
        if context.lease_dir is None:
            raise Refused("Without a lease's folder nobody could note which file is ours; nothing was changed.")
        made = _file(prior).make(context.lease_dir)
        over_s = context.clock.boottime_s() + FILLED_WITHIN_S  # a busy disk may take seconds to sync the first line
        try:
            writes = prior["kind"] in WITHOUT_FALLOCATE
            take(made, params.missing, lambda: context.clock.boottime_s() < over_s, writes=writes)
        except OSError as error:
            if error.errno == errno.EDQUOT:
                raise Refused(f"A quota of root's own lets nothing more be written to {_file(prior).top}.") from error
            raise
        finally:
            os.close(made)

    def verify(self, params: DiskParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read twice that our file has its blocks and that no more than the level is free, as the service sees it."""
        for wait_s in (INTERVAL_S, 0.0):
            observed = self._seen(params, prior, context)
            context.clock.sleep(wait_s)
        return observed

    def undo(self, params: DiskParams, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Empty and remove our file, and nothing else."""
        _file(prior).remove(context.lease_dir)

    def restored(self, params: DiskParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See that our file is gone, and tell whoever took it away instead of us, and what of ours must stay."""
        file = _file(prior)
        noted, how = file.noted(context.lease_dir), file.how_it_ended(context.lease_dir)
        shown = _shown(space_of(file.top)) if os.path.isdir(file.top) else {}  # noqa: PTH112 (as above)
        if file.size(noted) is not None:
            return Restored(clean=False, values=shown, by_hand=f"Remove our file: rm {file.path}.")
        if noted is not None and how is None:
            return self._missed(file, noted.inode, prior, shown)
        left = []
        if how in (MOVED, DELETED):
            left.append(f"{file.path} was {how} by somebody meanwhile")
        if file.left():
            left.append(f"{os.path.dirname(file.path)} has something in it that is not ours, and stays")  # noqa: PTH120 (as above)
        return Restored(clean=True, values=shown, left_alone=tuple(left))

    def _missed(self, file: FillFile, inode: int, prior: JsonMapping, shown: JsonObject) -> Restored:
        """Judge where our file is not at its place and was not found elsewhere: not found is not clean."""
        if not file.same_file_system():
            said = f"The file system that was filled is not mounted at {file.top} now: mount it there, then undo again."
            return Restored(clean=False, values=shown, by_hand=f"{said} Our file is {file.path}.")
        before, takes = (values.whole(prior, key, 0, 1 << 50) for key in ("free_for_root_mib", "takes_mib"))
        if space_of(file.top).free_for_root // MIB >= before - takes // 2:
            return Restored(clean=True, values=shown, left_alone=(f"{file.path} was deleted by somebody meanwhile",))
        said = f"{file.path} is not there, and its {takes} MiB are not free again, so somebody may have moved it."
        by_hand = f"{said} Look for it (find {file.top} -xdev -inum {inode} -user root), remove it, then undo again."
        return Restored(clean=False, values=shown, by_hand=by_hand)

    @staticmethod
    def _seen(params: DiskParams, prior: JsonMapping, context: Context) -> JsonObject:
        file, now = _file(prior), space_of(params.folder)
        size, free = file.size(file.noted(context.lease_dir)) or 0, now.free(root=params.take_reserved)
        goal = params.goal_free(now)
        if size < MIB:
            raise Unverified(f"{file.path} is not there, or is not ours, so nothing is taken by us.")
        if free > goal + params.tolerance(now):
            raise Unverified(
                f"{file.path} takes {size // MIB} MiB, and {free // MIB} MiB are free for {params.folder}, where "
                f"{goal // MIB} were asked for: others may have freed some, or it could not be filled within "
                f"{FILLED_WITHIN_S:g} s."
            )
        used = now.used_percent(root=params.take_reserved)
        return {
            "file": file.path,
            "file_mib": size // MIB,
            "used_percent": used,
            "kind": prior["kind"],
            **_shown(now),
        }


def _refuse_dangerous(system: FileSystem, params: DiskParams, context: Context) -> None:
    """Refuse the file systems that the host, its memory or our own records live on."""
    home = context.limited_to_home
    if home is not None and not system.top.startswith(os.path.realpath(os.path.dirname(home)).rstrip("/") + "/"):  # noqa: PTH120 (as above)
        raise Forbidden(
            f"Under CHAOSGPU_AGENT_HOME={home} only a file system that is mounted beside that folder is filled, and "
            f"{system.top} is not. Unset the variable to work under the host's own policy."
        )
    if context.lease_dir is not None and _device_of(context.lease_dir) == system.device:
        raise Refused(
            f"{params.folder} is on the file system on which the agent keeps its leases ({context.lease_dir}): with "
            "that full no lease could be made or told of. Give the agent's state a file system of its own."
        )
    if system.is_root and not params.allow_root:
        raise Refused(
            f"{params.folder} is on the host's root file system, where everything writes that the host needs: name a "
            "folder on another one, or give allow_root true. Nothing was changed."
        )
    if params.take_reserved and not system.kind.startswith("ext"):
        raise Refused(
            f"{params.folder} is on {system.kind}, which keeps nothing for root that a file could take: leave "
            "take_reserved out. Nothing was changed."
        )
    if system.kind == IN_MEMORY and not params.allow_memory:
        raise Refused(
            f"{params.folder} is on tmpfs, which is the host's memory: filling it may have processes killed. Give "
            "allow_memory true if that is meant. Nothing was changed."
        )


def _device_of(path: str) -> int:
    """Return the device that a folder is on, or will be on when it is made."""
    while not os.path.isdir(path):  # noqa: PTH112 (as above)
        path = os.path.dirname(path)  # noqa: PTH120 (as above)
    return os.stat(path).st_dev  # noqa: PTH116 (as above)


def _file(prior: JsonMapping) -> FillFile:
    return FillFile.from_json(values.mapping(prior, "file"))


def _shown(now: Space) -> JsonObject:
    return {
        "total_mib": now.total // MIB,
        "free_mib": now.free_for_users // MIB,
        "free_for_root_mib": now.free_for_root // MIB,
    }
