# SPDX-License-Identifier: Apache-2.0
"""Makes a state directory into a cloud that can be used at once (`computeapi init`). Safe to run again."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import func, insert, select

from computeapi import clock, errors
from computeapi.backends.identity import setup as identity
from computeapi.backends.image.embedded import EmbeddedImages
from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.db.models import Flavor, Network
from computeapi.db.queries import addresses
from computeapi.settings import Settings

Say = Callable[[str], None]

# name, vCPUs, memory in MiB, disk in GiB: the sizes that OpenStack users know, and one for `tiny`.
FLAVORS = (
    ("m1.nano", 1, 96, 1),
    ("m1.tiny", 1, 512, 1),
    ("m1.small", 1, 2048, 20),
    ("m1.medium", 2, 4096, 40),
    ("m1.large", 4, 8192, 80),
    ("m1.xlarge", 8, 16384, 160),
)
PRIVATE_CIDR = "10.11.0.0/24"


def prepare(settings: Settings, say: Say, *, admin_password: str, image_file: Path | None) -> None:
    """Database, users, clouds.yaml, flavors, network and image: what is missing is made, what is there is kept."""
    state = settings.state_path
    state.mkdir(parents=True, exist_ok=True)
    db = Database(settings.database_url, settings.sqlite_synchronous)
    try:
        if schema.upgrade(db):
            say(f"database {'made' if settings.connection else 'in ' + str(state)} at revision {schema.newest()}")
        clouds = read_clouds(settings)
        if not admin_password and "computeapi" not in clouds:
            admin_password = secrets.token_urlsafe(12)  # new, or nobody knows the old one any more
        credentials = identity.ensure_defaults(db, admin_password, settings.token_expiration)
        write_clouds(settings, clouds, credentials)
        make_flavors(db, say)
        if not settings.network_url:
            make_network(db, say)
        make_image(settings, db, image_file)
    finally:
        db.close()


def read_clouds(settings: Settings) -> dict[str, Any]:
    """What clouds.yaml has now. Raises Conflict where it is none."""
    path = settings.state_path / "clouds.yaml"
    try:
        content = yaml.safe_load(path.read_text()) if path.exists() else None
        clouds: dict[str, Any] = (content or {}).get("clouds") or {}
        if all(isinstance(cloud.get("auth", {}), dict) for cloud in clouds.values()):
            return clouds
    except (yaml.YAMLError, AttributeError):
        pass
    raise errors.Conflict(f"{path} is no clouds.yaml: mend it, or move it away for new passwords.")


def write_clouds(settings: Settings, clouds: dict[str, Any], credentials: identity.Credentials) -> None:
    """clouds.yaml (mode 0600): the clouds `computeapi` and `computeapi-demo`. A password that is not new is kept."""
    path = settings.state_path / "clouds.yaml"
    for cloud, user, password in (
        ("computeapi", "admin", credentials.admin_password),
        ("computeapi-demo", "demo", credentials.demo_password),
    ):
        password = password or clouds.get(cloud, {}).get("auth", {}).get("password")
        if not password:  # the file was lost, and nobody but its user knows
            continue
        clouds[cloud] = {
            "auth": {
                "auth_url": f"{settings.public_url or 'http://' + settings.listen}/identity/v3",
                "username": user,
                "password": password,
                "project_name": user,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": "RegionOne",
            "identity_api_version": "3",
        }
    _save_clouds(path, clouds)


def _save_clouds(path: Path, clouds: dict[str, Any]) -> None:
    draft = path.with_name(".clouds.yaml.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        yaml.safe_dump({"clouds": clouds}, file, sort_keys=False)
    draft.replace(path)


def remember_password(settings: Settings, user: str, password: str) -> Path | None:
    """Put a user's new password into clouds.yaml where it has the old one; the file, if it has."""
    path, clouds = settings.state_path / "clouds.yaml", read_clouds(settings)
    mine = [cloud["auth"] for cloud in clouds.values() if cloud.get("auth", {}).get("username") == user]
    if not mine:
        return None
    for auth in mine:
        auth["password"] = password
    _save_clouds(path, clouds)
    return path


def make_flavors(db: Database, say: Say) -> None:
    """The usual flavors, where there is none at all."""
    with db.write() as conn:
        if conn.execute(select(func.count()).select_from(Flavor)).scalar():
            return
        moment = clock.now()
        rows = [
            {
                "flavor_id": str(number),
                "name": name,
                "vcpus": vcpus,
                "memory_mb": memory,
                "disk_gb": disk,
                "created_at": moment,
            }
            for number, (name, vcpus, memory, disk) in enumerate(FLAVORS)
        ]
        conn.execute(insert(Flavor), rows)
    say(f"flavors {', '.join(row[0] for row in FLAVORS)}")


def make_network(db: Database, say: Say) -> None:
    """The shared network `private`, where there is no network at all."""
    with db.write() as conn:
        if conn.execute(select(func.count()).select_from(Network)).scalar():
            return
        addresses.create_network(conn, name="private", cidr=PRIVATE_CIDR, shared=True)
    say(f"network private, {PRIVATE_CIDR}")


def make_image(settings: Settings, db: Database, image_file: Path | None) -> None:
    """The public image `tiny`, from a qcow2 file; without one on the simulator, which boots nothing, an empty disk."""
    images = EmbeddedImages(settings, db)
    if image_file is None:
        if settings.hypervisor == "simulator":
            with tempfile.NamedTemporaryFile() as empty:
                empty.truncate(2**20)
                images.ensure_image(None, "tiny", Path(empty.name), "raw", {"hw_qemu_guest_agent": "yes"})
        return
    properties = {"os_distro": "busybox", "hw_qemu_guest_agent": "yes"}
    images.ensure_image(None, "tiny", image_file, "qcow2", properties)


def write_conf(settings: Settings, options: dict[str, dict[str, str]]) -> Settings:
    """Put options into the settings file, keeping what else is in it; the settings with them."""
    path = settings.path
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        path.read_text().splitlines()
        if path.exists()
        else ["# Settings of this cloud; etc/computeapi.conf.sample explains every option."]
    )
    changed: dict[str, Any] = {}
    for section, values in options.items():
        for name, value in values.items():
            _set_option(lines, section, name, value)
            changed[name] = value
    path.touch(mode=0o640)  # a database URL in it may have a password
    path.write_text("\n".join(lines) + "\n")
    return replace(settings, **changed)


def _set_option(lines: list[str], section: str, name: str, value: str) -> None:
    header = f"[{section}]"
    if header not in lines:
        lines += ["", header]
    start = lines.index(header) + 1
    for number in range(start, len(lines)):
        if lines[number].startswith("["):
            break
        if lines[number].split("=")[0].strip() == name:
            lines[number] = f"{name} = {value}"
            return
    lines.insert(start, f"{name} = {value}")
