# SPDX-License-Identifier: Apache-2.0
"""The words for what a server is (vm_state), what is being done to it (task_state), and whether it runs (power_state).

The names and the mapping to the API's `status` are Nova's (nova/compute/vm_states.py, task_states.py and
api/openstack/common.py as of 2.1).
"""

from enum import IntEnum

# --- vm_state: stable, what the user last reached ---
ACTIVE = "active"
BUILDING = "building"
PAUSED = "paused"
SUSPENDED = "suspended"
STOPPED = "stopped"
RESCUED = "rescued"
RESIZED = "resized"
SOFT_DELETED = "soft-delete"
DELETED = "deleted"
ERROR = "error"
SHELVED = "shelved"
SHELVED_OFFLOADED = "shelved_offloaded"

# --- task_state: an action under way; None when idle ---
SCHEDULING = "scheduling"
BLOCK_DEVICE_MAPPING = "block_device_mapping"
NETWORKING = "networking"
SPAWNING = "spawning"
REBOOTING = "rebooting"
REBOOT_STARTED = "reboot_started"
REBOOTING_HARD = "rebooting_hard"
REBOOT_STARTED_HARD = "reboot_started_hard"
POWERING_OFF = "powering-off"
POWERING_ON = "powering-on"
PAUSING = "pausing"
UNPAUSING = "unpausing"
SUSPENDING = "suspending"
RESUMING = "resuming"
UPDATING_PASSWORD = "updating_password"  # noqa: S105  (a state's name, not a secret)
REBUILDING = "rebuilding"
REBUILD_BLOCK_DEVICE_MAPPING = "rebuild_block_device_mapping"
REBUILD_SPAWNING = "rebuild_spawning"
RESIZE_PREP = "resize_prep"
RESIZE_MIGRATING = "resize_migrating"
RESIZE_MIGRATED = "resize_migrated"
RESIZE_FINISH = "resize_finish"
RESIZE_REVERTING = "resize_reverting"
RESIZE_CONFIRMING = "resize_confirming"
MIGRATING = "migrating"
IMAGE_SNAPSHOT_PENDING = "image_snapshot_pending"
IMAGE_SNAPSHOT = "image_snapshot"
IMAGE_UPLOADING = "image_uploading"
IMAGE_BACKUP = "image_backup"
RESCUING = "rescuing"
UNRESCUING = "unrescuing"
SHELVING = "shelving"
SHELVING_OFFLOADING = "shelving_offloading"
UNSHELVING = "unshelving"
SOFT_DELETING = "soft-deleting"
RESTORING = "restoring"
DELETING = "deleting"


class PowerState(IntEnum):
    """What the hypervisor says of the domain; the numbers are the API's (OS-EXT-STS:power_state)."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


#: Nothing runs: no screen, no serial port.
OFF = (PowerState.NOSTATE, PowerState.SHUTDOWN, PowerState.CRASHED, PowerState.SUSPENDED)


# vm_state → status, then the task_states that show as another status while they last.
_STATUS: dict[str, tuple[str, dict[str, str]]] = {
    ACTIVE: (
        "ACTIVE",
        {
            REBOOTING: "REBOOT",
            REBOOT_STARTED: "REBOOT",
            "reboot_pending": "REBOOT",
            REBOOTING_HARD: "HARD_REBOOT",
            REBOOT_STARTED_HARD: "HARD_REBOOT",
            "reboot_pending_hard": "HARD_REBOOT",
            UPDATING_PASSWORD: "PASSWORD",
            REBUILDING: "REBUILD",
            REBUILD_BLOCK_DEVICE_MAPPING: "REBUILD",
            REBUILD_SPAWNING: "REBUILD",
            MIGRATING: "MIGRATING",
            RESIZE_PREP: "RESIZE",
            RESIZE_MIGRATING: "RESIZE",
            RESIZE_MIGRATED: "RESIZE",
            RESIZE_FINISH: "RESIZE",
        },
    ),
    BUILDING: ("BUILD", {}),
    STOPPED: (
        "SHUTOFF",
        {
            RESIZE_PREP: "RESIZE",
            RESIZE_MIGRATING: "RESIZE",
            RESIZE_MIGRATED: "RESIZE",
            RESIZE_FINISH: "RESIZE",
            REBUILDING: "REBUILD",
            REBUILD_BLOCK_DEVICE_MAPPING: "REBUILD",
            REBUILD_SPAWNING: "REBUILD",
        },
    ),
    RESIZED: ("VERIFY_RESIZE", {RESIZE_REVERTING: "REVERT_RESIZE"}),
    PAUSED: ("PAUSED", {MIGRATING: "MIGRATING"}),
    SUSPENDED: ("SUSPENDED", {}),
    RESCUED: ("RESCUE", {}),
    ERROR: (
        "ERROR",
        {REBUILDING: "REBUILD", REBUILD_BLOCK_DEVICE_MAPPING: "REBUILD", REBUILD_SPAWNING: "REBUILD"},
    ),
    DELETED: ("DELETED", {}),
    SOFT_DELETED: ("SOFT_DELETED", {}),
    SHELVED: ("SHELVED", {}),
    SHELVED_OFFLOADED: ("SHELVED_OFFLOADED", {}),
}


def status(vm_state: str, task_state: str | None) -> str:
    """The API's `status` of a server in these two states."""
    default, by_task = _STATUS.get(vm_state, ("UNKNOWN", {}))
    return by_task.get(task_state, default) if task_state else default


def states_of_status(wanted: str) -> tuple[list[str], list[str] | None]:
    """What `?status=` asks for: the vm_states, and the task_states that narrow them (None: all but the renamed ones).

    An unknown status gives no vm_state: such a list is empty (Nova: 200 with no servers).
    """
    wanted = wanted.upper()
    vm_states = [vm for vm, (default, _) in _STATUS.items() if default == wanted]
    if vm_states:
        return vm_states, None
    found = [(vm, task) for vm, (_, by_task) in _STATUS.items() for task, name in by_task.items() if name == wanted]
    return sorted({vm for vm, _ in found}), sorted({task for _, task in found})


def renamed_tasks(vm_state: str) -> list[str]:
    """The task_states during which this vm_state shows another status than its own."""
    return sorted(_STATUS[vm_state][1])
