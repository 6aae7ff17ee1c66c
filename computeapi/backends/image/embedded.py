# SPDX-License-Identifier: Apache-2.0
"""Images in our own tables, their bytes in files of the state directory."""
