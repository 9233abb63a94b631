"""Data to policy: one algorithm per file, a frozen dataclass of hyper-parameters with ``fit``."""

LEARNERS = {
    "uniform": "understudy.learners.uniform:UniformLearner",
    "fixed": "understudy.learners.fixed:FixedLearner",
    "direct": "understudy.learners.direct:Direct",
}
