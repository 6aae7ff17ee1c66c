# SPDX-License-Identifier: Apache-2.0
"""python -m computeapi.guest_image.kvm_probe --cache DIR --remember FILE: does KVM run a guest here?

That /dev/kvm exists says little: in some virtual machines it is there, and a guest hangs as soon as it leaves real
mode. So a real kernel is booted. What came out is remembered in FILE, for this kernel and this QEMU.
Prints `kvm` or `qemu`, libvirt's words for the two kinds of guest.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

QEMU = "qemu-system-x86_64"
DEVICE = Path("/dev/kvm")
SECONDS = 10  # with KVM it takes less than 2


def virt_type(cache: Path, remembered: Path) -> str:
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return "qemu"
    version = subprocess.run((QEMU, "--version"), capture_output=True, text=True, check=True).stdout.splitlines()[0]
    host = {"kernel": os.uname().release, "qemu": version}
    if remembered.exists():
        last = json.loads(remembered.read_text())
        if last["host"] == host:
            return str(last["virt_type"])
    result = "kvm" if boots(cache / "vmlinuz", cache / "initrd.gz") else "qemu"
    remembered.write_text(json.dumps({"host": host, "virt_type": result}) + "\n")
    return result


def boots(kernel: Path, initrd: Path) -> bool:
    """The initramfs prints its marker and resets, which ends this QEMU."""
    command = [QEMU, "-M", "pc", "-accel", "kvm", "-m", "128", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd)]
    command += ["-append", "console=ttyS0 quiet panic=-1 kvm-probe"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return b"GUEST-PROBE" in done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m computeapi.guest_image.kvm_probe", description="Try KVM.")
    parser.add_argument("--cache", type=Path, required=True, help="where vmlinuz and initrd.gz of the image tiny lie")
    parser.add_argument("--remember", type=Path, required=True, help="the file that keeps the result")
    options = parser.parse_args()
    sys.stdout.write(virt_type(options.cache, options.remember) + "\n")


if __name__ == "__main__":
    main()
