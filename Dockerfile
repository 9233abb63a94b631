# The image of jobs on AWS Batch, or anywhere else that runs containers. docs/aws-batch.md tells how it is built and pushed.
# tests/contract/test_dockerfile.py executes the RUN lines in a folder of its own: keep them free of other programs.
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/understudy
RUN /opt/understudy/bin/python -m pip install --no-cache-dir --disable-pip-version-check ".[aws,gym,learn,tune]"

# One thread unless a job asks for more: two on one core are many times slower than one.
ENV PATH=/opt/understudy/bin:$PATH OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg
WORKDIR /work
RUN chmod 1777 /work
RUN understudy --version
USER 1000:1000
ENV HOME=/work
CMD ["understudy", "--help"]
