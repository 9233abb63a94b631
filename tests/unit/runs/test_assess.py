"""How estimates are told on a terminal: refusals with their reason, labels that must not get lost."""

from understudy.core.evidence import Estimate
from understudy.runs.assess import estimate_lines, split_names


def estimate(**changes: object) -> Estimate:
    fields: dict[str, object] = {
        "target": "new", "estimator": "snips", "value": 0.5, "std_error": 0.1, "low": 0.3, "high": 0.7, "level": 0.95,
        "method": "jackknife", "n_episodes": 900, "n_units": 900, "ess": 400.0, "max_weight_share": 0.01, "matched": 90,
    }  # fmt: skip
    return Estimate(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_label_is_shown_beside_an_interval_and_beside_a_refusal() -> None:
    """Estimated propensities are called that, whether or not there is an interval; once, not per row."""
    label = "estimated propensities (5 folds)"
    refused = estimate(estimator="dr", low=None, high=None, notes=("no interval: ESS 9", label))
    lines = estimate_lines([estimate(notes=(label,)), refused])
    assert [line for line in lines if label in line] == [f"note, snips, dr: {label}"]
    assert "new, dr: no interval: ESS 9" in lines
    assert any("refused" in line and "dr" in line for line in lines)


def test_names_are_split_outside_brackets() -> None:
    """A comma inside an estimator's settings does not end its name."""
    assert split_names("snips, dr(clip=20, x=1),ips") == ("snips", "dr(clip=20, x=1)", "ips")
