#!/usr/bin/env bash
# A real Slurm of one node for tests, whole in one folder: its own munge key, ports, state and logs. No systemd, no
# accounting database. Run as root.
#
#   tests/slurm-one-node.sh start FOLDER [CTLD_PORT SLURMD_PORT]    then: export SLURM_CONF=FOLDER/slurm.conf
#   tests/slurm-one-node.sh stop FOLDER                             ends what start started, by process id
set -euo pipefail
verb=$1
folder=$2
export SLURM_CONF=$folder/slurm.conf

stop() {
  squeue -h -o %A 2> /dev/null | sort -u | xargs -r scancel 2> /dev/null || true
  for name in slurmd slurmctld munged; do
    [ -s "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    # The id may be somebody else's by now: it is ours only while the command line names this folder.
    tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -qF "$folder" || continue
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 50); do
      grep -q '^State:.[^Z]' "/proc/$pid/status" 2> /dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

start() {
  if ! { command -v slurmctld && command -v slurmd && command -v munged; } > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq > /dev/null
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge > /dev/null
  fi
  chmod 755 "$folder"
  mkdir -p "$folder/state" "$folder/spool"
  (umask 077 && head -c 1024 /dev/urandom > "$folder/munge.key")
  local hardware memory
  hardware=$(slurmd -C | head -1 | sed -E 's/ ?RealMemory=[0-9]+//')
  memory=$(( $(slurmd -C | sed -nE 's/.*RealMemory=([0-9]+).*/\1/p') - 1024 ))  # slack, else the node drains
  cat > "$SLURM_CONF" <<CONF
ClusterName=understudy
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$3
SlurmdPort=$4
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
SlurmUser=root
MailProg=/bin/true
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=300
MaxArraySize=1001
$hardware RealMemory=$memory NodeAddr=127.0.0.1 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=short Nodes=ALL Default=NO MaxTime=00:10:00 State=UP AllowAccounts=lab
CONF
  munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
         --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
  slurmctld -f "$SLURM_CONF"
  slurmd -f "$SLURM_CONF"
  for _ in $(seq 120); do
    if sinfo -h -o %T 2> /dev/null | grep -qE '^(idle|mixed|allocated)$'; then exit 0; fi
    sleep 0.25
  done
  tail -n 20 "$folder"/*.log >&2
  stop
  echo 'Slurm did not come up' >&2
  exit 1
}

case $verb in
  start) start "$@" ;;
  stop) stop ;;
  *) echo "start or stop, not $verb" >&2; exit 2 ;;
esac
