"""Commented cluster files to start from."""

CLUSTERS = {
    "aws-batch": """\
# A queue of AWS Batch. docs/aws-batch.md tells where each of these comes from; there is no account number to put here
# but in the names of roles. Keys are read from the environment: AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret.
#   understudy cluster setup {file} --dry-run        print what would be made
#   understudy cluster setup {file}                  make it
#   understudy sweep exp.yaml --to s3://BUCKET/studies/first --at aws-batch --cluster {file}
kind: aws-batch
queue: understudy                   # its definitions are called understudy-collect, -tune, -train, -evaluate
bucket: s3://BUCKET/studies         # what containers may read and write
image: REGISTRY/understudy:VERSION  # made from the Dockerfile
vcpus: 64                           # most cores at once
spot: true                          # machines that may be taken away; their jobs begin again on others
attempts: 5                         # of a job whose machine was taken away
instances: [optimal]                # or types with accelerators, for stages that ask for gpus
subnets: [SUBNET]
security_groups: [GROUP]
instance_role: ecsInstanceRole
job_role: JOB-ROLE                  # the ARN of a role with policy-job.json
stages:                             # what a job may use that says nothing
  collect: {{cpus: 1, memory_mb: 2000, minutes: 60}}
  tune: {{cpus: 2, memory_mb: 4000, minutes: 240}}
  train: {{cpus: 2, memory_mb: 4000, minutes: 240}}
  evaluate: {{cpus: 1, memory_mb: 4000, minutes: 60}}
""",
    "slurm": """\
# A Slurm cluster. Empty means the cluster's own.
#   understudy cluster setup {file}                  make the environment that jobs activate, or bring it up to date
#   understudy sweep exp.yaml --to study --at slurm --cluster {file}
kind: slurm
account: ""
partition: ""
modules: []                         # loaded before everything else
environment: /home/ME/understudy    # made by cluster setup, with this python:
python: python3
install: []                         # empty: this version of understudy, with its learners
cores: 1                            # one element of an array does cores x sequential jobs, cores at a time
sequential: 1
at_once: 0                          # elements at most; 0: all there is room for
options: []                         # further lines for sbatch: --qos=high
""",
}
