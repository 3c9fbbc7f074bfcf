#!/bin/bash
# A SLURM of two nodes on loopback, as root, for tests. Needs Debian's slurmctld slurmd slurm-client munge, for accounting slurmdbd mariadb-server too.
#   cluster.sh start FOLDER [acct] [cgroup]   acct: sacct works; cgroup: memory is enforced (cgroup v1)
#   cluster.sh stop FOLDER                    ends what `start` began, by the process ids it noted
#   cluster.sh node FOLDER fail|return        the first node loses its power (slurmd and all jobs' processes), or is back
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "$0")" && pwd)
action=$1 folder=$2
shift 2
host=$(hostname -s)

fill() { sed "s#@FOLDER@#$folder#g; s#@HOST@#$host#g" "$1"; }

accounting() {
  fill "$here/slurmdbd.conf.in" > "$folder/slurmdbd.conf"
  chmod 600 "$folder/slurmdbd.conf"
  chown mysql "$folder/db"
  mariadb-install-db --no-defaults --user=mysql --datadir="$folder/db" --auth-root-authentication-method=socket > "$folder/log/install.log" 2>&1
  mariadbd --no-defaults --user=mysql --datadir="$folder/db" --socket="$folder/db/mysql.sock" --bind-address=127.0.0.1 \
    --port=13306 --innodb-lock-wait-timeout=900 > "$folder/log/mariadbd.log" 2>&1 &
  echo $! > "$folder/run/mariadbd.pid"
  sql() { mariadb --no-defaults -u root --socket="$folder/db/mysql.sock" -e "$1"; }
  for _ in $(seq 60); do sql "select 1" > /dev/null 2>&1 && break; sleep 0.5; done
  sql "create database slurm_acct_db;
       create user 'slurm'@'127.0.0.1' identified by 'test'; create user 'slurm'@'localhost' identified by 'test';
       grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1', 'slurm'@'localhost';"
  link
  slurmdbd
  for _ in $(seq 60); do sacctmgr -n list tres > /dev/null 2>&1 && break; sleep 0.5; done
  sacctmgr -i add cluster test > "$folder/log/account.log"
  sacctmgr -i add account project >> "$folder/log/account.log"
  sacctmgr -i add user root account=project >> "$folder/log/account.log"
}

# The plugin's job step drops SLURM_CONF from the environment, so the files must be found in /etc/slurm.
link() { for file in slurm gres cgroup slurmdbd; do [ ! -f "$folder/$file.conf" ] || ln -sf "$folder/$file.conf" "/etc/slurm/$file.conf"; done; }

# A node that is back may have a job again at once; a star after its state says that it does not answer.
serving() {
  for _ in $(seq 60); do
    [ "$(sinfo -h -N -o "%N %T" 2> /dev/null | sort -u | grep -cE " (idle|mixed|allocated)$")" != 2 ] || return 0
    sleep 0.5
  done
  sinfo
  sinfo -R
  return 1
}

start() {
  if [ -L /etc/slurm/slurm.conf ]; then
    echo "error: another test cluster is there; end it: $0 stop $(dirname "$(readlink /etc/slurm/slurm.conf)")" >&2
    exit 1
  elif [ -e /etc/slurm/slurm.conf ]; then
    echo "error: this machine has a SLURM of its own (/etc/slurm/slurm.conf)" >&2
    exit 1
  fi
  mkdir -p "$folder"/{state,spool/{"$host","$host-2"},log,run,munge,db} /run/munge /etc/slurm
  chmod 700 "$folder/munge" "$folder/log"
  chmod 755 "$folder" "$folder/run" /run/munge
  fill "$here/slurm.conf.in" > "$folder/slurm.conf"
  printf 'NodeName=%s Name=gpu Type=h200 File=%s\n' "$host" /dev/null "$host" /dev/zero "$host" /dev/full "$host" /dev/urandom > "$folder/gres.conf"
  echo CgroupPlugin=cgroup/v1 > "$folder/cgroup.conf" # that of v2, which slurmd chooses by itself, asks for systemd even where it has nothing to do
  if [[ " $* " == *" cgroup "* ]]; then
    printf 'ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n' >> "$folder/slurm.conf"
    printf 'CgroupAutomount=yes\nConstrainRAMSpace=yes\n' >> "$folder/cgroup.conf"
  else
    printf 'ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n' >> "$folder/slurm.conf"
  fi
  if [[ " $* " == *" acct "* ]]; then
    printf 'AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\nAccountingStoragePort=16819\nAccountingStorageTRES=gres/gpu\nAccountingStoreFlags=job_comment\nJobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=5\n' >> "$folder/slurm.conf"
  else
    printf 'AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n' >> "$folder/slurm.conf"
  fi
  (umask 077; head -c 128 /dev/urandom > "$folder/munge/munge.key")
  munged --force --num-threads=4 --key-file="$folder/munge/munge.key" --log-file="$folder/log/munged.log" \
    --pid-file="$folder/run/munged.pid" --seed-file="$folder/munge/munged.seed"
  link
  [[ " $* " != *" acct "* ]] || accounting
  slurmctld -c
  for node in "$host" "$host-2"; do slurmd -N "$node"; done
  serving
}

end() { # PROGRAM NAME-OF-PID-FILE [SIGNAL]
  local pid
  pid=$(cat "$folder/run/$2.pid" 2> /dev/null) || return 0
  [ "$(ps -o comm= -p "$pid")" != "$1" ] || { kill "${3:--TERM}" "$pid"; tail --pid="$pid" -f /dev/null; }
}

# Every process that runs for a job; steps' keepers (slurmstepd) outlive slurmd.
at_work() { for keeper in $(pgrep -x slurmstepd); do echo "$keeper"; below "$keeper"; done; }
lose_jobs() { for process in $(at_work); do kill -KILL "$process" 2> /dev/null || true; done; }
below() { local child; for child in $(pgrep -P "$1"); do echo "$child"; below "$child"; done; }

case $action in
  start) start "$@" ;;
  stop)
    for node in "$host" "$host-2"; do end slurmd "slurmd.$node"; done
    lose_jobs
    for daemon in slurmctld slurmdbd mariadbd munged; do end $daemon $daemon; done
    for file in slurm gres cgroup slurmdbd; do
      if [ "$(readlink "/etc/slurm/$file.conf")" = "$folder/$file.conf" ]; then rm "/etc/slurm/$file.conf"; fi
    done
    for controller in freezer cpuset memory; do
      find "/sys/fs/cgroup/$controller/slurm_$host" "/sys/fs/cgroup/$controller/slurm_$host-2" -depth -type d -exec rmdir {} \; 2> /dev/null || true
    done
    ;;
  node)
    case $1 in
      fail)
        end slurmd "slurmd.$host" -KILL
        lose_jobs
        ;;
      return) slurmd -N "$host" && serving ;;
    esac
    ;;
esac
