"""Worlds to act in whose truth is known; ``rollout`` turns a policy in a world into a log."""

ENVS = {
    "bandit": "understudy.envs.bandit:bandit",
    "drift": "understudy.envs.drift:drift",
    "digits": "understudy.envs.classification:digits",
    "shuttle": "understudy.envs.shuttle:shuttle",
    "cartpole": "understudy.envs.cartpole:cartpole",
    "pendulum": "understudy.envs.pendulum:pendulum",
    "retail": "understudy.envs.retail.world:retail",
}
