# SPDX-License-Identifier: Apache-2.0
"""Documents and samples made from the program's own tables."""
