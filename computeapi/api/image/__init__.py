# SPDX-License-Identifier: Apache-2.0
"""Glance v2 over the embedded images. All of it answers 404 where a real Glance is used."""
