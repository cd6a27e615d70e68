#!/usr/bin/env bash
# Start a Slurm of one node on this machine, as root on Debian; STATE is a folder of its own.
#   tools/one_node_slurm.sh STATE      then: export SLURM_CONF=STATE/slurm.conf
set -euo pipefail
state=$(realpath -m "${1:?name a folder for its state}")
command -v slurmctld >/dev/null && command -v munged >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}
mkdir -p "$state/spool" "$state/ctld" /run/munge
chown munge: /run/munge
pgrep -x munged >/dev/null || runuser -u munge -- munged
cat >"$state/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$(hostname -s)
AuthType=auth/munge
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
NodeName=$(hostname -s) CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1100)}' /proc/meminfo)
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
export SLURM_CONF=$state/slurm.conf
slurmctld
slurmd
for _ in $(seq 30); do
    sinfo --noheader --states=idle | grep -q . && exec sinfo
    sleep 1
done
echo "no idle node; see $state/slurmctld.log and $state/slurmd.log" >&2
exit 1
