"""``import understudy`` costs nothing worth naming: heavy packages load when they are used."""

import subprocess
import sys

HEAVY = ("jax", "sklearn", "duckdb", "matplotlib", "pandas", "pyarrow", "scipy", "sqlalchemy", "jinja2", "typer")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(m for m in sys.modules if '.' not in m))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_import_loads_nothing_heavy() -> None:
    """The package's front door imports none of the heavy packages."""
    assert loaded_by("import understudy").isdisjoint(HEAVY)


def test_every_name_of_the_front_door_opens() -> None:
    """At most fifteen names, and each leads somewhere."""
    import understudy

    names = [name for name in understudy.__all__ if not name.startswith("__")]
    assert len(names) <= 15
    for name in names:
        assert getattr(understudy, name) is not None


def test_core_and_ops_load_no_heavy_package() -> None:
    """The nouns and the pure functions stay light."""
    light = loaded_by("import understudy.core.protocols, understudy.core.manifest, understudy.core.registry")
    assert light.isdisjoint(HEAVY)


def test_the_command_line_starts_light() -> None:
    """``--help`` must not wait for a data frame."""
    assert loaded_by("import understudy.cli").isdisjoint({"jax", "sklearn", "duckdb", "matplotlib", "pandas", "scipy"})
