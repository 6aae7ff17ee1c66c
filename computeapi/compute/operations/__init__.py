# SPDX-License-Identifier: Apache-2.0
"""STEPS: what each operation does on its host. `lifecycle.ACTIONS` names them; so do the rows of the journal, so a name
here is kept for as long as rows of an earlier release may be open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from computeapi.compute.operation import Operation, Tools, VolumeWork, Work
from computeapi.compute.operations import (
    attachments,
    build,
    evacuate,
    firewall,
    interfaces,
    live,
    move,
    power,
    questions,
    rebuild,
    remote,
    rescue,
    resize,
    shelve,
    snapshot,
    volumes,
)

OPERATIONS: dict[str, Operation[Work]] = {
    "build": build.BUILD,
    "delete": build.DELETE,
    "soft_delete": power.SOFT_DELETE,
    "start": power.START,
    "stop": power.STOP,
    "reboot_soft": power.REBOOT_SOFT,
    "reboot_hard": power.REBOOT_HARD,
    "pause": power.PAUSE,
    "unpause": power.UNPAUSE,
    "suspend": power.SUSPEND,
    "resume": power.RESUME,
    "rebuild": rebuild.REBUILD,
    "rescue": rescue.RESCUE,
    "unrescue": rescue.UNRESCUE,
    "resize": resize.RESIZE,
    "confirm_resize": resize.CONFIRM,
    "revert_resize": resize.REVERT,
    "move": move.MOVE,
    "revert_move": move.REVERT,
    "live_migrate": live.LIVE_MIGRATE,
    "evacuate": evacuate.EVACUATE,
    "clean_up": evacuate.CLEAN_UP,
    "shelve": shelve.SHELVE,
    "shelve_offload": shelve.OFFLOAD,
    "unshelve": shelve.UNSHELVE,
    "snapshot": snapshot.SNAPSHOT,
    "backup": snapshot.BACKUP,
    "attach_interface": interfaces.ATTACH,
    "detach_interface": interfaces.DETACH,
    "attach_volume": attachments.ATTACH,
    "detach_volume": attachments.DETACH,
    "swap_volume": attachments.SWAP,
    "reset_network": interfaces.RESET_NETWORK,
    "apply_network": firewall.APPLY_NETWORK,
}

# On volumes: computeapi.backends.volume.embedded begins them.
VOLUME_OPERATIONS: dict[str, Operation[VolumeWork]] = {
    "volume_create": volumes.CREATE,
    "volume_delete": volumes.DELETE,
    "volume_extend": volumes.EXTEND,
    "volume_revert": volumes.REVERT,
    "volume_upload": volumes.UPLOAD,
    "volume_snapshot_create": volumes.SNAPSHOT_CREATE,
    "volume_snapshot_delete": volumes.SNAPSHOT_DELETE,
}

# Those that copy disks or images: minutes, where the others take seconds.
LONG = frozenset(
    {
        "build",
        "rebuild",
        "rescue",
        "resize",
        "revert_resize",
        "move",
        "revert_move",
        "live_migrate",
        "evacuate",
        "shelve",
        "unshelve",
        "snapshot",
        "backup",
        "swap_volume",
        "volume_create",
        "volume_revert",
        "volume_upload",
        "volume_snapshot_create",
    }
)

QUESTIONS: dict[str, Callable[[Work], Any]] = {
    "check_console": questions.check_console,
    "console_output": questions.console_output,
    "diagnostics": questions.diagnostics,
    "set_password": questions.set_password,
    "refresh_network": remote.on_event,
}

# About the host, not about a server of it.
HOST_QUESTIONS: dict[str, Callable[[Tools, dict[str, Any]], Any]] = {
    "apply_firewall": firewall.on_hint,
    "ping": firewall.ping,
}
