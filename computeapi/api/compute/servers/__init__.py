# SPDX-License-Identifier: Apache-2.0
"""Servers: create, list, show, update, delete, metadata, addresses. Actions are the table in computeapi.lifecycle."""
