"""Write the dashboards and alert rules into the import package: `python dashboards/grafana/generate.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import alerts, boards

TARGET: Final = Path(__file__).parents[1] / "stagelight_dashboards" / "grafana"


def files() -> dict[str, str]:
    """Return what is generated: the text of each file by its path below the target."""
    made: dict[str, Any] = {f"dashboards/{name}.json": board for name, board in boards.all_boards().items()}
    made["provisioning/alerting/stagelight.yaml"] = alerts.rules()  # JSON is YAML, too
    return {
        path: json.dumps(data, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for path, data in made.items()
    }


def main() -> None:
    """Write them."""
    for path, text in files().items():
        target = TARGET / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
