# SPDX-License-Identifier: Apache-2.0
"""The wall clock against the clock of the board, and whether somebody keeps it right."""

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.residue.systemd import shown, stopped_though_enabled

_KINDS = {
    "clock.off": "the wall clock is far from the board's clock",
    "clock.unkept": "what keeps the time is enabled and does not run",
}
_RTC = "/sys/class/rtc"
# A board's clock may run on local time: zones differ by quarters of an hour.
_QUARTER_S, _FAR_S, _DAY_S = 900, 60, 86400
_KEEPERS = (
    "chrony.service",
    "chronyd.service",
    "ntp.service",
    "ntpd.service",
    "ntpsec.service",
    "systemd-timesyncd.service",
)


@family("clock", FOREIGN, _KINDS)
def clock(scene: Scene, found: Found) -> None:
    """More than a minute off, beside whole quarters of an hour of a zone; or more than a day, whatever the zone."""
    boards = [name for name in scene.names(_RTC) if name.startswith("rtc")]
    if not boards:
        found.could_not("this host shows no clock of its board, so the wall clock was not compared")
    for name in boards[:1]:
        told = scene.text(f"{_RTC}/{name}/since_epoch")
        if told is None or not told.strip().isdigit():
            found.could_not(f"{_RTC}/{name} tells no time")
            continue
        off_s = scene.clock.wall_s() - int(told)
        rest_s = abs(off_s) % _QUARTER_S
        if min(rest_s, _QUARTER_S - rest_s) > _FAR_S or abs(off_s) > _DAY_S:
            by_hand = "chronyc tracking or timedatectl; then chronyc makestep"
            found.add("clock.off", f"{off_s:+.0f} s against {name}", name, by_hand, owner=UNKNOWN)
    if not scene.has_systemd:
        return
    folders = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    there = {name for folder in folders for name in scene.names(folder)}
    for name, unit in shown(scene, *(keeper for keeper in _KEEPERS if keeper in there)).items():
        if stopped_though_enabled(unit):
            found.add("clock.unkept", f"{name} does not run", name, f"systemctl start {name}", owner=UNKNOWN)
