"""Write the dashboards and alert rules into the import package: `python dashboards/grafana/generate.py`.

The page is told their uids and variables, so that its links and the dashboards cannot part.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import alerts, boards

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

TARGET: Final = Path(__file__).parents[1] / "stagelight_dashboards" / "grafana"
PAGE: Final = Path(__file__).parents[1] / "ui" / "src" / "grafana" / "boards.ts"


def files() -> dict[str, str]:
    """Return what is generated: the text of each file by its path below the target."""
    made: dict[str, Any] = {f"dashboards/{name}.json": board for name, board in boards.all_boards().items()}
    made["provisioning/alerting/stagelight.yaml"] = alerts.rules()  # JSON is YAML, too
    return {
        path: json.dumps(data, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for path, data in made.items()
    }


def page_source() -> str:
    """Return what the page knows of the dashboards: uids, and as a type which variables each has."""
    made = boards.all_boards()
    uids = [f"  {name}: '{board.uid}'," for name, board in made.items()]
    variables = [
        f"  readonly {name}: {' | '.join(map(repr, _variables(board)))};" for name, board in made.items()
    ]
    lines = (
        "/* Made by dashboards/grafana/generate.py. */",
        "",
        "export const UIDS = {", *uids, "} as const;",
        "",
        "/** The variables of each dashboard. */",
        "export interface Variables {", *variables, "}",
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def _variables(board: Dashboard) -> list[str]:
    return [variable.name for variable in board.templating.list_val or ()]


def main() -> None:
    """Write them."""
    written = {TARGET / path: text for path, text in files().items()} | {PAGE: page_source()}
    for target, text in written.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
