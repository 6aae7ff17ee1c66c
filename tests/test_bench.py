# SPDX-License-Identifier: Apache-2.0
"""The benchmark still runs, and what it compares is comparable: ours and bare answer the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_bench() -> None:
    command = ["tools/bench/run", "--database", "sqlite", "--servers", "1000", "--seconds", "0.3", "--rounds", "1"]
    ran = subprocess.run([*command, "--workers", "1"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| ([\d.]+) \| ([\d,]+) \| ([\d.]+) \|", ran.stdout, re.MULTILINE)
    assert len(rows) == 9, ran.stdout
    assert all(float(ours) > 0 and float(bare) > 0 for _name, _rate, ours, _bare_rate, bare in rows)
