"""The notebooks run from top to bottom, as a user would run them, and say what they promise."""

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


class ThisPython(KernelSpecManager):
    """The interpreter of the tests is the only kernel, whatever else is installed on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(argv=make_ipkernel_cmd(executable=sys.executable), display_name="tests", language="python")


def run(path: Path, here: Path) -> Any:
    """The notebook with the outputs of this run."""
    from jupyter_client.manager import AsyncKernelManager

    notebook = nbformat.read(path, as_version=4)
    manager = AsyncKernelManager(
        kernel_spec_manager=ThisPython(), kernel_name="tests", transport="ipc", ip=str(here / "kernel")
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setenv("OPENBLAS_NUM_THREADS", "1")
    patch.setenv("TMPDIR", str(here))
    try:
        client = NotebookClient(notebook, km=manager, timeout=180, resources={"metadata": {"path": str(here)}})
        return client.execute()
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(EXAMPLES / "live_loop.ipynb", tmp_path_factory.mktemp("notebook"))


def text(notebook: Any) -> str:
    """Everything that was printed or shown as text."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    """What git holds is the source: no output, no execution count, no machine's name."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_the_notebook_runs_and_shows_each_step(ran: Any) -> None:
    """A service decides, a candidate is proven, goes live, is explained, replayed, and rolled back."""
    said = text(ran)
    assert "1001 decisions, mean reward" in said  # the one by hand too
    assert "SHIP:" in said
    assert "canary share 0.3" in said
    assert "2001 decisions made again, 0 different" in said
    assert "production is now" in said and "service ended with 0" in said
    assert any("image/png" in o.get("data", {}) for cell in ran.cells for o in cell.get("outputs", []))


def test_the_notebook_shows_no_warning(ran: Any) -> None:
    """Nothing is written to standard error: a first user would not know what to make of it."""
    errors = [o.text for cell in ran.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    assert errors == []


def test_a_log_of_episodes_becomes_a_policy(tmp_path: Path) -> None:
    """From guessing to standing; what chose a policy may not judge it; the next log is written."""
    notebook = run(EXAMPLES / "batch_rl.ipynb", tmp_path)
    said = text(notebook)
    assert "500 episodes, mean return 2" in said and "500 terminated, 0 truncated" in said
    assert "mean return 200.00" in said or "mean return 19" in said
    assert "refused" in said and "fqe" in said
    assert '"propensities":' in said and "ONNX opset" in said
    assert any("image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", []))
    errors = [o.text for cell in notebook.cells for o in cell.get("outputs", []) if o.get("name") == "stderr"]
    lines = [line for part in errors for line in part.splitlines()]
    assert sum(line.startswith("epoch ") for line in lines) == 10
    others = [line for line in lines if line and not line.startswith("epoch ")]
    assert len(others) == 3 and others[0].startswith("DataError: 'bcq' was trained on"), others


def test_a_shop_is_told_who_should_have_coupons(tmp_path: Path) -> None:
    """Policies learn, are judged in other shops, and the report shows curve, segments and training sizes."""
    notebook = run(EXAMPLES / "retail.ipynb", tmp_path)
    said = text(notebook)
    assert "7 runs: 7 done" in said and "4 runs: 4 done" in said
    assert "revenue[sensitive]" in said and "true_value" in said
    assert "always 25%" in said and "policies in 4 shops that none of them learned from" in said
    assert sum("image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", [])) == 4
