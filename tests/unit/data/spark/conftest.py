"""One Spark for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.spark import QUICK, need_java


@pytest.fixture(scope="package")
def spark() -> Iterator[Any]:
    """A session on a context that all tests of this folder share: what asks for engine spark here uses it."""
    need_java()
    from understudy.data.spark.session import running

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        with running("local[2]") as session:
            yield session
