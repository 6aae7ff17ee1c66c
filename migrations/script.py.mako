# SPDX-License-Identifier: Apache-2.0
"""${message}

Rules: what an older release's processes write must still fit (they run during a rolling upgrade); large tables change
in small steps; no statement that only one database knows.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
