# SPDX-License-Identifier: Apache-2.0
"""etc/computeapi.conf.sample and etc/policy.json.sample, by oslo.config's and oslo.policy's own generators."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from oslo_config import cfg, generator

from computeapi import routes
from tools.tables.document import main

_HEADER = """# Every option of computeapi with its default. Made by tools/conf from computeapi/settings.py: do not edit.
#
# Put what you change into computeapi.conf in the state directory, or into a file that $COMPUTEAPI_CONF names.
# These variables outrank any file: COMPUTEAPI_STATE_DIR, COMPUTEAPI_LISTEN.

"""


def settings_sample() -> str:
    """What oslo-config-generator says of us."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "sample")
        conf = cfg.ConfigOpts()
        generator.register_cli_opts(conf)
        conf(["--namespace", "computeapi", "--output-file", str(path), "--wrap-width", "110"], default_config_files=[])
        generator.generate(conf)
        text = path.read_text().replace(" - <No description provided>", "")
    return _HEADER + "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def policy_sample() -> str:
    """Every rule with its default, as JSON: what a policy.json may hold."""
    return json.dumps({rule.name: rule.check_str for rule in routes.list_rules()}, indent=4) + "\n"


if __name__ == "__main__":
    what = "the sample of the settings and of the policy"
    samples = {"etc/computeapi.conf.sample": settings_sample, "etc/policy.json.sample": policy_sample}
    sys.exit(main("conf", what, samples))
