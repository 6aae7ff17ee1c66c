# SPDX-License-Identifier: Apache-2.0
"""Builds the image `tiny`: the smallest Linux guest that shows what a server does, from the distribution's packages.

It boots by BIOS from a disk, says on its serial console what it sees (lines that begin with GUEST-), reads its config
drive and obeys the power button. No root, no mount and no loop device is needed to build it.
"""
