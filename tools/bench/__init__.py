# SPDX-License-Identifier: Apache-2.0
"""What requests cost, beside what the stack alone costs. Start it by tools/bench/run."""
