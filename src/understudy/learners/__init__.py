"""Data to policy: one algorithm per file, a frozen dataclass of hyper-parameters with ``fit``."""

LEARNERS = {
    "uniform": "understudy.learners.uniform:UniformLearner",
    "fixed": "understudy.learners.fixed:FixedLearner",
    "direct": "understudy.learners.direct:Direct",
    "dr": "understudy.learners.dr:DoublyRobust",
    "ipw": "understudy.learners.ipw:IPW",
    "lin_ucb": "understudy.learners.lin_ucb:LinUCB",
    "lin_ts": "understudy.learners.lin_ts:LinTS",
    "bag": "understudy.learners.bag:Bagging",
    "floor": "understudy.learners.floor:Floor",
    "neural": "understudy.learners.neural:Neural",
    "forest_ts": "understudy.learners.forest_ts:ForestTS",
    "online_linear": "understudy.learners.online_linear:OnlineLinear",
    "online_neural": "understudy.learners.online_neural:OnlineNeural",
    "dqn": "understudy.learners.dqn:DQN",
    "vw": "understudy.learners.vw:VW",
}
