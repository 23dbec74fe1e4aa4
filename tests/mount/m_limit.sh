#!/usr/bin/env bash
# Where the kernel ends a mount over one slow request, every request ends before that, whatever it waits for: blocks that nobody has,
# a directory's listing, a command that is never answered. The limit is told to mount_main; P2P_TEST_SYSCTL=1 (by hand, as root: it is
# of the whole machine) lets the kernel have it, and takes a minute.
# mount_main: -t 4
set -u
fail() { echo "m_limit: $*"; exit 1; }
. "$(dirname "$0")/again.sh"
python3 - "$1" 3.0 <<'PY' || fail "of 4 s"
import base64, errno, hashlib, os, sys, threading, time
m, limit = sys.argv[1], float(sys.argv[2])

def absent(i, codec):
    digest = hashlib.sha256(b"absent %d" % i).digest()
    return m + "/ipfs/b" + base64.b32encode(bytes([1, codec, 0x12, 0x20]) + digest).decode().lower().rstrip("=")

def write_stuck():
    with open(m + "/.p2p/ctl", "wb", buffering=0) as f:
        f.write(b"stuck\n")

calls = {"read": lambda: os.read(os.open(absent(1, 0x55), os.O_RDONLY), 1), "stat": lambda: os.stat(absent(2, 0x70)),
         "size": lambda: os.stat(absent(3, 0x55)), "car": lambda: os.stat(absent(4, 0x55) + ".car"), "command": write_stuck}
took = {}

def run(name):
    start = time.monotonic()
    try:
        calls[name]()
    except OSError as e:
        took[name] = (time.monotonic() - start, errno.errorcode[e.errno])

threads = [threading.Thread(target=run, args=(n,)) for n in calls]
for t in threads:
    t.start()
for t in threads:
    t.join(limit + 15)
assert len(took) == len(calls), took
for name, (seconds, error) in took.items():
    assert error == "ETIMEDOUT" and limit - 0.2 <= seconds < limit + 0.9, took
os.listdir(m)
PY
[ "${P2P_TEST_SYSCTL:-}" = 1 ] || exit 0
s=/proc/sys/fs/fuse/max_request_timeout
[ -w $s ] || { echo "skipped: no $s"; exit 77; }
stop
was=$(cat $s); echo 30 >$s # it counts for mounts that are made now
again; started=$?
echo "$was" >$s
[ $started = 0 ] || fail "start"
python3 - "$1" <<'PY' || fail "of the kernel"
import os, sys, time
took = []
def stuck():
    start = time.monotonic()
    try:
        with open(sys.argv[1] + "/.p2p/ctl", "wb", buffering=0) as f:
            f.write(b"stuck\n")
    except TimeoutError:
        took.append(time.monotonic() - start)
stuck()
assert len(took) == 1 and 22 < took[0] < 24, took
time.sleep(30) # the kernel looks every 15 s
os.listdir(sys.argv[1])
print("ended after", *(f"{t:.1f}" for t in took), "s; the mount lives")
PY
exit 0
