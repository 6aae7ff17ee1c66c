# SPDX-License-Identifier: Apache-2.0
"""The metadata service: what 169.254.169.254 answers the guests of this host."""
