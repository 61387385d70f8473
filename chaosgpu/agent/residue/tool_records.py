# SPDX-License-Identifier: Apache-2.0
"""What other tools' own records say is still in force."""

import contextlib
import json
from typing import List, Tuple

from chaosgpu.agent.residue.finding import FOREIGN, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonObject

_KINDS = {
    "record.chaosblade": "ChaosBlade's record has an experiment that was not destroyed",
    "record.chaosd": "chaosd's record has an experiment that was not recovered",
    "record.toxiproxy": "a configuration of Toxiproxy with toxics in it",
    "record.litmus": "a result file of Litmus' helper",
}
_BLADE = ("/opt/chaosblade/chaosblade.dat", "/root/.chaosblade/chaosblade.dat", "/usr/local/chaosblade/chaosblade.dat")
_CHAOSD = ("/usr/local/chaosd/chaosd.dat", "/opt/chaosd/chaosd.dat", "/root/chaosd.dat", "/var/lib/chaosd/chaosd.dat")
_TOXIPROXY = ("/etc/toxiproxy.json", "/etc/toxiproxy/config.json", "/opt/toxiproxy/toxiproxy.json")
_LITMUS = ("/litmus", "/var/lib/litmus", "/tmp/litmus")  # noqa: S108 (looked at, never written)


@family("tool records", FOREIGN, _KINDS)
def tool_records(scene: Scene, found: Found) -> None:
    """Read them; a record that is there and cannot be understood is unknown."""
    for path in _BLADE:
        for uid, what in _rows(path, "experiment", "command || ' ' || sub_command", scene):
            found.add("record.chaosblade", f"experiment {uid}: {what}", f"{path} {uid}", f"blade destroy {uid}")
    for path in _CHAOSD:
        for uid, what in _rows(path, "experiments", "kind || ' ' || action", scene):
            found.add("record.chaosd", f"experiment {uid}: {what}", f"{path} {uid}", f"chaosd recover {uid}")
    for path in _TOXIPROXY:
        with_toxics = [str(proxy.get("name")) for proxy in _proxies(path, scene) if proxy.get("toxics")]
        if with_toxics:
            what = f"toxics on {', '.join(with_toxics)}"
            found.add("record.toxiproxy", what, path, "toxiproxy-cli toxic delete, and take them out of the file")
    for path in _LITMUS:
        for name in scene.names(path):
            if name.endswith((".pid", ".helper", "-helper.json")):
                where = f"{path}/{name}"
                found.add("record.litmus", "a helper's file stayed", where, f"see which fault it was, then rm {where}")


def _rows(path: str, table: str, about: str, scene: Scene) -> List[Tuple[str, str]]:
    """Return id and text of each experiment that the tool's database calls a success: it is in force."""
    if scene.status(path, follow=True) is None:
        return []
    import sqlite3  # noqa: PLC0415 (10 ms, and hardly any host has such a file)

    words = f"select uid, {about} from {table} where lower(status) = 'success'"  # noqa: S608 (our own two names)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{scene.root}{path}?mode=ro&immutable=1", uri=True)) as database:
            return [(str(uid), str(what)) for uid, what in database.execute(words)]
    except sqlite3.Error as error:
        raise Unlooked(f"{path} is there and cannot be read: {error}") from error


def _proxies(path: str, scene: Scene) -> List[JsonObject]:
    raw = scene.text(path)
    if raw is None:
        return []
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise Unlooked(f"{path} is there and is no JSON: {error}") from error
    return [proxy for proxy in found if isinstance(proxy, dict)] if isinstance(found, list) else []
