"""Families of distributions over a box of actions: what a policy's last layer says, read as a density."""

FAMILIES = {
    "squashed": "understudy.models.families.squashed:Squashed",
    "gaussian": "understudy.models.families.gaussian:Gaussian",
    "beta": "understudy.models.families.beta:Beta",
    "student_t": "understudy.models.families.student_t:StudentT",
    "q_gaussian_light": "understudy.models.families.q_gaussian:Light",
    "q_gaussian_heavy": "understudy.models.families.q_gaussian:Heavy",
    "softmax": "understudy.models.families.softmax:Softmax",
}
