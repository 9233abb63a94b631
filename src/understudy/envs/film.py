"""Watching a policy act: frames of one episode after another, to a GIF or in a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from understudy.core.errors import ConfigError
from understudy.core.protocols import Policy
from understudy.envs.gym import INSTALL, Gym
from understudy.envs.walk import walk

WIDEST = 300  # pixels; a larger frame is shrunk to this
RATE = 30  # frames per second where the world names none


def film(
    env: Gym, policy: Policy, n: int = 1, *, seed: int, max_steps: int | None = None
) -> Iterator[np.ndarray | None]:
    """What each step of n episodes, one after another, looked like: u8[height, width, 3]; None if it is in a window.

    Raises: ConfigError if the world cannot be drawn here.
    """
    try:
        for tick in walk(env, policy, n, seed=seed, max_steps=max_steps, width=1):
            if tick.episode[0] < n:
                yield env.picture()
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("pygame", "gymnasium"):
            raise
        raise ConfigError(
            f"this world cannot be drawn here: {error}",
            hint=f"Without a screen use --gif FILE. {INSTALL}",
            field="render",
        ) from error


def write_gif(frames: Sequence[np.ndarray], file: str | Path, rate: int = RATE) -> Path:
    """An endless GIF of u8[height, width, 3] pictures at ``rate`` per second, no wider than 300 pixels."""
    from PIL import Image

    if not frames:
        raise ConfigError("there is no frame to write", field="gif")
    shrink = -(-frames[0].shape[1] // WIDEST)
    pictures = [Image.fromarray(frame).reduce(shrink).quantize(32) for frame in frames]
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / rate),
        loop=0,
        optimize=False,
    )
    return file
