# SPDX-License-Identifier: Apache-2.0
"""Adopt orphans and reap them: reaper.py [COMMAND ARG...]

libvirt waits until a guest's QEMU that it killed is reaped, and some process 1 (in containers, mostly) take a second
for that. As process 1 of a namespace this runs until it is killed. Otherwise it starts COMMAND, adopts what that
leaves behind, and ends when the last of those processes has ended.
"""

import ctypes
import os
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    is_init = os.getpid() == 1
    if not is_init:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if sys.argv[1:]:
        os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            if not is_init:
                return
            time.sleep(0.1)


main()
