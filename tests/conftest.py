"""What every room's tests may ask for."""

pytest_plugins = ("tests.clouds", "tests.postgres", "tests.serving", "tests.slurm")
