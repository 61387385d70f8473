# SPDX-License-Identifier: Apache-2.0
"""The page docs/faults.md, from the registry: `python -m chaosgpu.agent.faults.catalogue > docs/faults.md`.

The file is written whole; its prose is here, so that no page can say something else than the code.
"""

import sys
from typing import List

from chaosgpu.agent.faults.registry import REGISTRY

__all__ = ["page"]

_HEAD = """\
# Faults

<!-- Written by `python -m chaosgpu.agent.faults.catalogue > docs/faults.md`; a test fails where they differ. -->

Each fault changes one thing on one GPU, one service or one disk, is seen to be in force before the experiment goes
on, and is put back by the host itself. The actions that put them in are in `chaosgpu.gpu.actions` (`gpu.*`), in
`chaosgpu.host.actions` (`unit.*`, `package.install`, `disk.fill`) and in `chaosgpu.cuda.actions` (`library.*`,
`package.unattended`). `selfdrill.file` has no action: it is for `chaosgpu self-drill`
([self-drill.md](self-drill.md)), which proves with it that a host undoes what was put in.

**Plane** is where it shows: `state` (the driver's own settings and readings) or `effect` (the workload's calls fail or
are slow). **Tier** T1 touches one service, T2 one GPU with everybody on it. **Fidelity** is how well undo restores:
`exact` (as it was), `default` (the product's default, or what you declared), `restart` (the service runs again, what
was in it is lost). **Rights**: NVIDIA's driver lets only root change settings, and systemd lets only root change units.

| fault | what it does | plane | tier | fidelity | rights | undone |
|---|---|---|---|---|---|---|
"""

_DEADLINES = {"fast": "within 5 s", "slow": "within the bound that it is given"}

_TAIL = """\
## What all faults of GPUs do

- The GPU is named by UUID or PCI bus id; an index only with `allow_index`, since indices change.
- A GPU that is unhealthy already (a recovery action is asked for, a row remap is pending or has failed, a page
  retirement is pending) is refused: nobody could tell the fault from its own.
- What is in force already is refused as `no_effect`: a fault that changes nothing proves nothing.
- Seen twice: each fault reads back what only it could have caused, twice over an interval. For a setting that is the
  setting; for a holder it is the bytes or the utilisation that the driver reports for the holder's own process. Totals
  are reported beside it, never instead of it. If it is not seen, it is undone at once and the run is inconclusive.
- Undo compares first: a setting that somebody changed meanwhile is left alone and named under `left_alone`.
- The processes that hold memory or time take plain device memory through `libcuda.so.1` and end with their lease; the
  driver gives back whatever they held, however they end. They refuse to run where NVML is simulated and CUDA is not,
  or the other way round. Inside a container with pids of its own the driver shows the host's pids and nothing could
  be verified: run the agent on the host.

## What all faults of units do

- The unit is a service by its whole name; systemd's own name of it is what is claimed, whichever alias was given. No
  pattern, no slice (it holds other units), no scope (nobody could start it again).
- Refused: what holds the host together or brings people to it (`systemd-*`, `dbus`, `ssh`, `getty`, `cron`), our own
  units, any unit that the agent runs in, and what the policy protects by any of its names or its template's. Under
  `CHAOSGPU_AGENT_HOME` no unit is touched at all.
- What a person does meanwhile counts: a unit that somebody has stopped is not started again, one that somebody has
  started is left alone, and `left_alone` says so. systemd tells a stop that was asked for from an end by itself: the
  unit has left its active state before its main process ended. It forgets that at once where no other unit names the
  one that is down; then a unit that is down without an error counts as stopped by somebody, unless the fault itself
  could have left it so (`unit.stop`, and `unit.kill` where Restart= need not act). A unit that has failed counts as our
  doing, whoever killed it: the undo starts it, after `reset-failed` where systemd has given it up.
- A drop-in of ours lies in `/run/systemd/system/UNIT.d/zz-chaosgpu-LEASE.conf`. Its path and text are in the undo
  record before it exists. It is never written over another file and removed only if it is ours to the last byte; one
  that was changed stays and is named, and if it still does harm the lease is `stuck`. Why it is not
  `systemctl set-property`: [decision 6](adr/0006-unit-faults-are-drop-ins.md).
- A daemon-reload puts in force whatever was edited on the host and not loaded yet. With such edits the faults that need
  one are refused. The undo does not wait for that: it reloads.
- After a reboot nothing of ours is in force, since `/run` is empty. A unit that is enabled comes back by itself; one
  that was active and is not enabled is started by the undo. The boot unit runs before the services that use GPUs and
  cannot wait for them: there a start that systemd has among its jobs counts as back.
- `systemctl` is a child that ends with the agent, so that nothing is asked for after the undo has come.

## A KV cache that is taken at start

vLLM (`--gpu-memory-utilization`) and TensorRT-LLM (`kv_cache_free_gpu_mem_fraction`) take their cache once, when they
start. Holding GPU memory afterwards shrinks nothing there, and a test shows it. So `unit.kv_cache.shrink` restarts
the unit with a smaller share: a variable, or arguments at the end of its command (the last of two counts with most
programs). How many blocks it has is read where you say: the sum of a pattern's matches on a page, a JSON pointer, or
the last match in the journal of its present start. Only this host's own addresses are asked. The number must have
become smaller, and at the undo it must be as before within `tolerance_percent`. A command is only written anew where
the running process has exactly the words that systemd shows: no variables, no prefixes, no second command.

## CUDA errors in one service

`unit.cuda.errors` names its plane honestly: `effect`. Nothing is wrong with the GPU and no Xid is written; the
service's own calls fail before they reach the driver. A small library of ours (`chaosgpu/agent/shim/`) is preloaded
into the unit by a drop-in; it stands before `libcuda.so.1` for programs that link it, look it up with `dlsym`
(ctypes, the CUDA runtime) or ask `cuGetProcAddress`.

- **Arming wants a restart; turning on and off does not.** The unit starts with the library, calls go through until it
  is ready, then the toggle is turned on: a file that the library looks at every millisecond. With `inject_at` it is
  the restart that happens at that instant.
- **The undo** removes the toggle first, so calls go through within a millisecond, then restarts the unit without the
  library and sees it gone from the memory of every process. There is no way to keep the library in until the next
  restart: the host comes back as it was.
- **The deadline is in the toggle**, on `CLOCK_BOOTTIME`: the lease's hard end, `max_duration_s`, which no renewal
  moves. With keeper, timer and sweep dead, calls go through from then on. No toggle, one that cannot be read or has
  one byte too many: calls go through.
- **Each failed call is counted** before it fails; one that cannot be counted goes through. Verified is: the library
  is in every process of the unit that has CUDA loaded, by path and file, and calls were counted. Without traffic
  there is nothing to count, and the fault is unverified.
- **Where the library comes from**: this host's `cc` builds it from the sources in the agent, into the state root
  under a digest, where it stays for the next time. Without a compiler build it on a like host and name it: `library`
  with `path` and `sha256`; it must belong to root and is copied.
- `code`: 2 out of memory, 46 device unavailable, 214 uncorrectable ECC, 700 illegal address, 702 launch timeout, 719
  launch failed, 999 unknown. After 214, 700, 702 and 719 every call of these `calls` fails in that process, as with a
  real driver; with ours that ends with the toggle.

## Drift that is made

`library.mismatch` and `library.shadow` bring a library's file into one unit and change nothing of the host: its files,
its loader's cache and all other units stay as they are. Both name their plane honestly, `effect`: what is broken is
what the unit's own calls reach.

- **Two ways, since programs find libraries in two ways.** `library.mismatch` has systemd mount the file over the one
  that the unit's processes have loaded, in the unit's own mount namespace (`BindReadOnlyPaths=`): it reaches whoever
  asks by name, by path or by a path built in. `library.shadow` puts a folder with one link first in the unit's
  `LD_LIBRARY_PATH`: it reaches whoever asks by name, and leaves a second copy to those who do not, which is the
  incident. There the kernel's map of the process has the file's own path, so `loaded_libraries`, `library_loaded_once`
  and `drift scan` see it; what is mounted over keeps the path of what it covers, and they do not.
- **The file is yours**: the library of the other version, as its package has it (`dpkg-deb -x`, a wheel, another
  toolkit's folder; a copy of the right one is a second copy, too). It must belong to root, with nobody else to write
  it, and be where a service of any user can load it. It is not copied; its digest is told, and one that is replaced
  meanwhile makes the fault unverified.
- **What the mismatch does is asked before**: a child process loads the file and makes the first call of every program,
  `nvmlInit_v2` or `cuInit`. Where that says 0, the library goes with the loaded kernel module and the fault is refused
  as `no_effect`. What it says else is under `a_process_is_told`: 18 from NVML and 803 from CUDA for two versions.
- **Seen** is a mismatch when a process of the new start has loaded the file, or the unit has ended on it. A shadow is
  seen in `/proc/PID/maps` and nowhere else; once it was, a unit that ends on it counts, too.
- The folder of the link is `/run/chaosgpu-library-LEASE`; it goes with the undo, and with a reboot.

`package.unattended` is the other half: the host's own packages, as an upgrade at night brings them.

## Packages

How a change of packages is planned, kept and put back, from any state of dpkg and without a network:
[packages.md](packages.md).

## A disk that is full

- **Our file is known by two things**: its first line, which says what it is to whoever finds it, and its inode. Both
  are on the disk, and the inode is in the lease's folder, before the file has anything else in it. An inode alone
  would not do: ext4 gives the number of a deleted file to the next one. It lies in a folder of ours,
  `chaosgpu-fill-LEASE` in the highest folder of that file system, so that no database finds it among its own.
- **Never over a link**: folder and file are opened without following one, so whoever owns the folders above cannot
  lead us elsewhere.
- **Levels are the service's own**: `free_mib` is what is free for who is not root, `free_for_root_mib` is beside it.
  ext4 keeps 5 percent for root as it is made, and up to 16 MiB that nobody gets; with `take_reserved` root's share is
  taken.
- **The undo needs no room**: the file is cut down to its first line before its name is removed. The room is back at
  once, also where somebody has the file open or has given it a second name.
- **Not found is not clean**: a file that is not at its place is looked for by its inode, for 3 s. Moved: it is
  emptied and removed. Nowhere: somebody has deleted it. Both are told under `left_alone`. Where nobody could look
  everywhere and the room is not free again, or where another file system is mounted there now, the lease is `stuck`
  and says what to do.
- **Why the file system of the leases is refused, always**: what a lease needs in order to end is written into blocks
  that were laid out before. But with that disk full no lease could be made on the host, no claim be taken again, and
  nothing be told of what happened. Give the agent's state a file system of its own to fill `/` with `allow_root`.

## Files that vanish

- **The unit is stopped, both ways.** A server that runs may write an empty index over what is put back, or go on with
  what it has in memory. Stop, rename, start; then stop, rename back, start.
- **The original is never written.** It is renamed to `chaosgpu-aside-LEASE/NUMBER` in the highest folder of its file
  system, and what `unit.files.damage` damages is a copy. That folder is root's alone and not among the service's own
  files: Milvus Lite, as it starts, removes what it does not know there, and in our first trial removed the originals
  for good. A service of root whose data is that highest folder is refused. A folder that the service removed with its
  last file is made again. Once the unit is down and before the first rename, the lease's folder has what
  each file is: inode, size, time of change, and up to 256 MiB a lease the digest. A digest of many GB would keep the
  database down for minutes. The kernel's own time of change (ctime) is not used: a backup or a new label moves it.
- **Files are named one by one**, not by their folder: the record names each before it is touched, and whoever approves
  a drill reads what will be gone. For a folder of Chroma's or a large index of PostgreSQL name each file in it.
- **Whose file it is**: it belongs to a user that the unit's processes run as, lies below a folder in which one of them
  stands or has a file open for writing (or WorkingDirectory=, StateDirectory=, ReadWritePaths=), is the same file for
  the unit, and is open in no process of others. What is not known to be so is refused.
- **The undo puts back all or none.** What stands under a name meanwhile is the unit's own of the time between; it is
  replaced only where the original is aside and known, and `restored` names it under `replaced`. Where an original is
  missing or was changed, nothing is moved, the lease is `stuck` and says what to do by hand. An original that
  somebody has put back is left, and told.
- **The unit afterwards**: started if it was up, also after a reboot; left down where somebody has stopped it
  meanwhile. A database that does not come up without its index is an effect like any other.
- **At boot** the undo runs before `postgresql.service`, `chroma.service` and others of that kind, and before each unit
  that the host's installation names (`agent install-units --before UNIT`). A unit that is not among them may start
  without its files: it is stopped again, and started when they are back.

## Memory levels

`used_percent` counts as nvidia-smi does: what processes hold, of the GPU's whole memory; what the driver keeps for
itself counts as neither used nor free. The holder takes blocks of up to 1 GiB and then smaller ones down to 2 MiB, the
page size in which the driver gives memory out, and looks again every second: what others free, it takes. It never gives
back, so what others allocate beyond the level is theirs. A leak follows its rate by the clock that counts through
suspend: one that was late catches up, and never goes beyond its end.

## Why stopping widens to the whole service

Triton runs each Python model in a process of its own, a stub, beside the server. With the stub alone stopped, the
server finds it dead after one second and answers every request with an error; when the stub is then continued, the next
request ends the whole server (seen in four of four runs on Triton 2.51). So `gpu.process.stop` goes from the process
that was named up to the root of its service and stops all of it, parents before children, until nobody new appears. It
continues children before parents, so that no server finds its workers unresponsive, and whatever the service has
started meanwhile with them. What belongs to a service: the parents in the same session, everything that they started,
the session that one of them leads, and the control group of their systemd unit or container. Login sessions are no
service, and neither the shell nor the controller that we run under is ever stopped. A process is known by its pid and
its start time together: one that has got the pid of an ended one is never touched. What somebody else had stopped
before stays stopped.

## Why killing needs `restored_by`

A killed process has no undo. The fault is accepted only where something named brings the service back: a systemd unit
(restarted) or a command (a list of arguments, the first an absolute path). A supervisor may be faster: then nothing is
run. The command gets no more rights than the service had, only the part of its environment that decides which GPUs it
sees, and 60 s; it must start the service and return. The service counts as back when as many processes of the same
user, program and command line run as before, or as many of the same user and program are on the GPU. Command lines are
kept as digests: they may hold secrets.

## Locked clocks

No driver tells what the clocks are locked to. Before a lock, the clocks count as locked by somebody if the driver names
a user's setting as the reason for them (event reason 0x2), or if the GPU is at least 50 percent busy and more than a
tenth below its highest clock with no reason given. Then the fault is refused unless the lock is declared as
`prior_lock`, which is what undo puts back. A lock that a person has set on an idle GPU cannot be seen on every product:
declare it. The lock counts as seen when the clock is inside its range (within one step of 15 MHz) and was outside
before, or the driver now names the setting as the reason.
"""


def page() -> str:
    """Return docs/faults.md."""
    faults = REGISTRY.values()
    rows = [
        f"| `{one.name}` | {one.summary} | {one.plane} | {one.tier} | {one.fidelity} | {one.privilege} | "
        f"{_DEADLINES[one.deadline_class]} |\n"
        for one in faults
    ]
    parts: List[str] = [_HEAD, *rows, "\n"]
    for one in faults:
        parts.append(f"## {one.name}\n\n{one.summary}\n\n- **Claims**: {one.claimed}.\n")
        parts.append(f"- **Refused**: {one.refuses}.\n- **Traps**: {one.traps}\n\n")
    return "".join(parts) + _TAIL


if __name__ == "__main__":
    sys.stdout.write(page())
