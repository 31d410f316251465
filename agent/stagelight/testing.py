"""Testing: a pytest fixture that records workflows in memory, with no collector.

```python
def test_etl(stagelight_recorder):
    etl()
    assert [step.name for step in stagelight_recorder.steps] == ["extract", "load"]
    assert stagelight_recorder.runs[0].status == "completed"
```

Loaded by every pytest of our users, so nothing heavy is imported until the fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight.recorder import Recorder


@pytest.fixture
def stagelight_recorder() -> Iterator[Recorder]:
    """Record every run of the test in memory; what was set up before is back afterwards."""
    from stagelight.recorder import recording  # importing this module must cost nothing

    with recording() as recorder:
        yield recorder
