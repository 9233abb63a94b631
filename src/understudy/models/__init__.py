"""Context to numbers, NumPy only: feature maps, value models, policies, and the file that holds them.

``MODELS`` are the regressors a user names, ``CLASSIFIERS`` predict an action, ``STATES`` are what ``load`` rebuilds.
"""

from __future__ import annotations

from typing import Any

from understudy.core.protocols import State

MODELS = {
    "ridge": "understudy.models.ridge:Ridge",
    "logistic": "understudy.models.logistic:Logistic",
    "trees": "understudy.models.growing:BoostedTrees",
    "forest": "understudy.models.growing:Forest",
}

CLASSIFIERS = {
    "multinomial": "understudy.models.logistic:Multinomial",
    "forest": "understudy.models.growing:ForestClassifier",
    "knn": "understudy.models.neighbors:Neighbors",
}

STATES = {
    "feature_map": "understudy.models.feature_map:FeatureMap",
    "uniform": "understudy.models.policies:Uniform",
    "fixed": "understudy.models.policies:Fixed",
    "explore": "understudy.models.policies:Explore",
    "mixture": "understudy.models.policies:Mixture",
    "shares": "understudy.models.shares:Shares",
    "uniform_box": "understudy.models.box:UniformBox",
    "linear": "understudy.models.ridge:LinearModel",
    "logistic": "understudy.models.logistic:LogisticModel",
    "trees": "understudy.models.trees:TreeModel",
    "linear_ensemble": "understudy.models.ensembles:LinearEnsemble",
    "bag": "understudy.models.ensembles:Bag",
    "upper_bound": "understudy.models.optimism:UpperBound",
    "network": "understudy.models.network:Network",
    "q_network": "understudy.models.q_network:QNetwork",
    "neighbors": "understudy.models.neighbors:NeighborModel",
    "parametric": "understudy.models.parametric:ParametricNetwork",
    "filtered": "understudy.models.filtered:Filtered",
    "actor": "understudy.models.actor:Actor",
    "family_actor": "understudy.models.families.policy:FamilyActor",
    "linear_actor": "understudy.models.families.linear:LinearActor",
    "vw": "understudy.models.vw:VWPolicy",
}


def load(state: State) -> Any:
    """The policy or model that ``state`` describes; its kind must be registered.

    Raises: StoreError if the kind is unknown, or the state is not what that kind writes.
    """
    from understudy.models.state import revive

    return revive(state)
