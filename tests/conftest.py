"""What every room's tests may ask for."""

import getpass
import os
import tempfile
from pathlib import Path

# Half of what tests of learners cost is compiling the same small programs, in each worker and in every process they
# start. The results are the same; a run that finds the programs of the last one takes half the time.
_CACHE = Path(tempfile.gettempdir()) / f"understudy-tests-jax-{getpass.getuser()}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

pytest_plugins = ("tests.clouds", "tests.postgres", "tests.serving", "tests.slurm")
