# SPDX-License-Identifier: Apache-2.0
"""docs/lifecycle.md: ACTIONS and STEPS as tables, and as a diagram."""

from __future__ import annotations

import sys

from computeapi import states
from computeapi.compute.operations import OPERATIONS
from computeapi.lifecycle import ACTIONS, ANY, ANY_TASK, AS_WAS, IDLE, Action
from tools.tables.document import code, main, table

_INTRODUCTION = """<!-- Made by tools/states from ACTIONS and STEPS: change these, then `tools/states --write`. -->
# The life of a server

What can be done to a server, in which states, and where it lands. The table is `ACTIONS` in `computeapi/lifecycle.py`;
what an action does is the STEPS of its operation, in `computeapi/compute/operations/`.

A state is two words: **vm_state**, what the user last reached, and **task_state**, what is being done, nothing when
idle. The API's `status` is made of both. An action is let begin from the states named; then the server has the
task_state named, until the action lands. Where it fails, it lands in the state named last, with a fault.
"""


def document() -> str:
    """The whole document."""
    return "\n".join([_INTRODUCTION, _diagram(), _actions(), _steps(), _statuses()])


def _diagram() -> str:
    """Mermaid: an edge for each pair of states, with the actions that lead from one to the other; no loops."""
    edges: dict[tuple[str, str], list[str]] = {}
    for name, action in ACTIONS.items():
        sources = ["anything"] if set(action.vm_states) == set(ANY) else list(action.vm_states)
        for source in sources:
            source = "[*]" if name == "create" else source
            target = source if action.lands is AS_WAS else action.lands
            if source != target:
                edges.setdefault((source, target), []).append(name)
    lines = ["stateDiagram-v2"]
    used = {state for edge in edges for state in edge if state != "[*]"}
    lines += [f'    state "{state}" as {_word(state)}' for state in sorted(used) if _word(state) != state]
    lines += [f"    {_word(a)} --> {_word(b)}: {', '.join(names)}" for (a, b), names in edges.items()]
    lines += [f"    {_word(states.DELETED)} --> [*]"]
    note = "Actions that leave a server in the state it was in are only in the table below.\n\n"
    return f"## Diagram\n\n{note}```mermaid\n" + "\n".join(lines) + "\n```\n"


def _word(state: str) -> str:
    return state.replace("-", "_")


def _actions() -> str:
    rows = [
        [
            code(name),
            _from(action),
            _during(action),
            code(action.task_state or ""),
            code(action.lands) if action.lands is not AS_WAS else "as it was",
            code(action.fails) if action.fails is not AS_WAS else "as it was",
            "yes" if action.locked_too else "",
            code(action.operation),
        ]
        for name, action in ACTIONS.items()
    ]
    header = (
        "action",
        "from vm_state",
        "from task_state",
        "while it lasts",
        "lands",
        "fails",
        "locked too",
        "steps of",
    )
    return "## Actions\n\n" + table(header, rows)


def _from(action: Action) -> str:
    return "any" if set(action.vm_states) == set(ANY) else ", ".join(code(state) for state in action.vm_states)


def _during(action: Action) -> str:
    if action.task_states == ANY_TASK:
        return "any"
    if action.task_states == IDLE:
        return "idle"
    return ", ".join(code(state) if state else "idle" for state in action.task_states)


def _steps() -> str:
    text = (
        "## Steps\n\nEach step may run twice (its process may have been killed at the end of it), so each finds what\n"
        "is there already. Where one fails, those that were begun are undone, last first.\n\n"
    )
    rows = [
        [code(name), f"{number}. {step.name}", _sentence(step.do), _sentence(step.undo) if step.undo else ""]
        for name, operation in OPERATIONS.items()
        for number, step in enumerate(operation.steps, 1)
    ]
    return text + table(("operation", "step", "after it", "undone"), rows)


def _sentence(function: object) -> str:
    return (function.__doc__ or "").strip().split("\n")[0]


def _statuses() -> str:
    rows = []
    for vm_state, (default, by_task) in states._STATUS.items():
        other: dict[str, list[str]] = {}
        for task, status in by_task.items():
            other.setdefault(status, []).append(code(task))
        renamed = "; ".join(f"{status} while {', '.join(tasks)}" for status, tasks in other.items())
        rows.append([code(vm_state), default, renamed])
    return "## Status\n\nWhat the API's `status` says.\n\n" + table(("vm_state", "status", "but"), rows)


if __name__ == "__main__":
    what = "what can be done to a server and where it lands, as Markdown"
    sys.exit(main("states", what, {"docs/lifecycle.md": document}))
