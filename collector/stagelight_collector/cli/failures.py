"""What the user can mend, said in one line."""

from __future__ import annotations

import click


class UserError(click.ClickException):
    """Something that the user can mend."""

    exit_code = 2
