#!/usr/bin/env bash
# What the kernel and programs still hold of what is gone: ESTALE of a peer that was forgotten, and nothing is told of a number
# that means something else by now (the kernel refuses that, and `run` reads the log).
set -u
python3 - "$1" <<'PY'
import errno, os, sys, threading, time
m = sys.argv[1]

def fails(want, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == want, f"{call}{args}: {e.strerror}, not {os.strerror(want)}"
    else:
        raise AssertionError(f"{call}{args} worked")

def waits_for_stale(call, *args):
    until = time.monotonic() + 10  # attributes may be a second old
    while time.monotonic() < until:
        try:
            call(*args)
        except OSError:
            break
        time.sleep(0.01)
    fails(errno.ESTALE, call, *args)

# a peer that leaves, seen from inside
peer = m + "/peers/12D3KooWBBBB"
where, ledger, status = os.open(peer, os.O_PATH), os.open(peer + "/ledger", os.O_PATH), os.open(peer + "/status", os.O_RDONLY)
snapshot = os.pread(status, 1000, 0)
os.chdir(peer)
with open(m + "/.p2p/ctl", "w") as f:
    f.write("peer 12D3KooWBBBB forget")
for stale in (where, ".", "status", "streams", ledger):
    waits_for_stale(os.stat, stale)
for call, *args in ((os.listdir, "."), (os.listdir, "streams"), (open, "status"), (open, "ping"), (open, "ctl", "w"), (open, "none")):
    fails(errno.ESTALE, call, *args)
for name in ("", "/status", "/streams"):
    fails(errno.ENOENT, os.stat, peer + name)  # by its path there is nothing
assert os.pread(status, 1000, 0) == snapshot  # what was open is a snapshot
assert sorted(os.listdir(m + "/peers")) == ["12D3KooWAAAA"]

# one that is forgotten by rmdir
os.rmdir(m + "/peers/12D3KooWAAAA")
assert os.listdir(m + "/peers") == []
os.chdir(m + "/share")

def close_and_remove(d):
    """The names in a directory that is closed are forgotten after the answer: when it is gone, and others have come."""
    for _ in range(50):
        os.mkdir(d)
        for i in range(30):
            open(f"{d}/{i}", "w").close()
        os.chmod(d, 0)
        for i in range(30):
            os.unlink(f"{d}/{i}")
        os.rmdir(d)
        for i in range(5):
            open(f"{d}.{i}", "w").close()
        for i in range(5):
            os.unlink(f"{d}.{i}")

threads = [threading.Thread(target=close_and_remove, args=(f"d{k}",)) for k in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert os.listdir(".") == []
PY
