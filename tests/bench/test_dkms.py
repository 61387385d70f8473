# SPDX-License-Identifier: Apache-2.0
"""A driver that DKMS builds, changed and put back on a real systemd host with Debian's own dkms and kernel headers.

The host shares this machine's kernel, so no module is loaded here: what would be is compared to the byte.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import dkms
from bench.dkms import KERNEL, WANTED, digests, image, seen
from bench.dkms_layer import dkms_layer
from bench.hosts import BENCHES, Bench, Host
from bench.packages import apply, order, wait_clean
from bench.plan import me
from support.debs import LATER, OLD
from support.dkms_debs import PACKAGE, build_dkms_repository
from support.needing import say

BACK_S = 240
_COMPILERS = "/usr/bin/x86_64-linux-gnu-gcc-12"
_STALE = "/etc/modprobe.d/site.conf"
_KEPT = "/var/lib/chaosgpu/packages/*/dkms/kept"
_CATCH = """
rm -rf /run/at /run/gate; mkdir -p /run/gate; touch /run/gate/build
/usr/libexec/chaosgpu/agent.pyz apply <&0 > /run/answer & agent=$!
for _ in $(seq 6000); do [ ! -e /run/at/build ] || break; sleep 0.02; done
[ -e /run/at/build ] && echo caught
kill -KILL $agent; pkill -KILL -x apt-get; pkill -KILL -x dpkg
sleep 1
pgrep -x apt-get; pgrep -x dpkg
pgrep -f '^/bin/sh /var/lib/dpkg/info/nvidia-kernel-dkms.postinst' > /dev/null && echo orphan
exit 0
"""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def one(machine: None) -> Iterator[Host]:  # noqa: ARG001 (it says that the machine can)
    bench = Bench(BENCHES / f"dkms-{me().pid}")
    bench.up(1, extra=(str(dkms_layer(say)),))
    try:
        with tempfile.TemporaryDirectory(prefix="chaosgpu-debs-") as folder:
            build_dkms_repository(Path(folder))
            dkms.bring(bench.hosts[0], Path(folder))
        yield bench.hosts[0]
    finally:
        bench.down()


@pytest.fixture
def driver(one: Host) -> Iterator[Host]:
    """Give a host with the old driver, built by DKMS."""
    dkms.install(one)
    one.run(["rm", "-f", "/run/builds"], check=True)
    yield one
    one.run(["sh", "-c", f"rm -rf /run/gate; [ ! -e {_COMPILERS}.gone ] || mv {_COMPILERS}.gone {_COMPILERS}"])
    one.agent("undo", {"all": True}, timeout_s=BACK_S)


def _apply(host: Host) -> str:
    lease: str = apply(host, WANTED, back_within_s=BACK_S)["lease"]
    return lease


def _undo(host: Host, lease: str) -> dict[str, object]:
    [line] = host.agent("undo", {"lease": lease}, timeout_s=BACK_S)["leases"]
    found: dict[str, object] = line
    return found


def _no_compiler(host: Host) -> None:
    host.run(["mv", _COMPILERS, f"{_COMPILERS}.gone"], check=True)


def test_modules_come_back_to_the_byte_with_no_compiler_no_headers_and_no_mirror(driver: Host) -> None:
    before, modules = seen(driver), digests(driver)
    lease = _apply(driver)
    assert digests(driver) != modules  # the control: DKMS has built another one
    assert f"nvidia-current/{LATER.partition('-')[0]}" in driver.run(["dkms", "status"]).stdout
    _no_compiler(driver)
    driver.run(["sh", "-c", f"mv /srv/driver /srv/gone; mv /lib/modules/{KERNEL}/build /root/build"], check=True)
    line = _undo(driver, lease)
    driver.run(["sh", "-c", f"mv /srv/gone /srv/driver; mv /root/build /lib/modules/{KERNEL}/build"], check=True)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert digests(driver) == modules
    assert seen(driver) == before
    assert _compiled(driver) == [LATER]
    assert driver.run(["sh", "-c", f"ls -d {_KEPT}"]).returncode != 0  # nobody needs it any more


def test_without_the_kept_modules_and_without_a_compiler_there_is_no_way_back_and_it_says_so(driver: Host) -> None:
    """The control: what was kept is what brings them back."""
    before = seen(driver)
    lease = _apply(driver)
    driver.run(["sh", "-c", f"rm -rf {_KEPT}/*"], check=True)
    _no_compiler(driver)
    line = _undo(driver, lease)
    assert line["state"] == "stuck"
    assert "The packages are not as they were" in str(line["reason"])
    driver.run(["mv", f"{_COMPILERS}.gone", _COMPILERS], check=True)
    assert _undo(driver, lease)["state"] == "clean"
    assert seen(driver) == before
    assert _compiled(driver)[-1] == OLD


def test_a_module_that_somebody_overwrote_or_removed_meanwhile_comes_back(driver: Host) -> None:
    before = seen(driver)
    lease = _apply(driver)
    driver.run(["sh", "-c", f"echo broken > {dkms.INSTALLED}/nvidia-current.ko"], check=True)
    assert _undo(driver, lease)["state"] == "clean"
    assert seen(driver) == before


def test_a_build_that_goes_on_after_everything_was_killed_does_not_come_over_what_was_put_back(driver: Host) -> None:
    before = seen(driver)
    ordered = order(WANTED, back_within_s=BACK_S)
    caught = driver.run(["bash", "-c", _CATCH], _json(ordered), BACK_S, check=True).stdout.split()
    assert caught == ["caught", "orphan"], caught  # a script goes on, and nobody holds a lock
    asked = _json({"lease": ordered["lease"]})
    undoing = driver.start(["sh", "-c", f"echo '{asked}' | /usr/libexec/chaosgpu/agent.pyz undo"])
    driver.run(["sleep", "3"])
    assert undoing.poll() is None
    driver.run(["rm", "-rf", "/run/gate"], check=True)
    undoing.communicate(timeout=BACK_S)
    assert wait_clean(driver, ordered["lease"], BACK_S)["state"] == "clean"
    assert seen(driver) == before
    assert _compiled(driver) == [LATER]  # before it was killed: what is on its way out is not compiled again


def test_an_image_to_boot_from_that_has_the_other_driver_is_made_anew_whatever_was_stale_in_it(driver: Host) -> None:
    driver.run(["sh", "-c", "echo nvidia-current >> /etc/initramfs-tools/modules"], check=True)
    driver.run(["update-initramfs", "-u", "-k", "all"], timeout_s=BACK_S, check=True)
    before = image(driver)
    assert "nvidia-current.ko" in before
    assert "nvidia-graphics.conf" in before
    driver.run(["sh", "-c", f"echo options site > {_STALE}"], check=True)  # and nobody has made an image with it
    lease = _apply(driver)
    driver.run(["update-initramfs", "-u", "-k", "all"], timeout_s=BACK_S, check=True)
    assert image(driver) != before  # the control
    line = _undo(driver, lease)
    driver.run(["rm", _STALE], check=True)
    assert line["state"] == "clean", line
    assert [row for row in image(driver).splitlines() if _STALE not in row] == before.splitlines()
    assert driver.run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE]).stdout == OLD


def _compiled(host: Host) -> list[str]:
    """Return the versions that DKMS has compiled since the test began."""
    return host.run(["cat", "/run/builds"], check=True).stdout.split()


def _json(request: dict[str, object]) -> str:
    return json.dumps({"protocol": 1, **request})
