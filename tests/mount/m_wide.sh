#!/usr/bin/env bash
# Large directories: listed with their attributes in few requests, once more from what the kernel remembers, and bare in no time; as
# the same directory below ipfs/, where it is sharded. WIDE=100000 by hand: what MOUNT (28) names.
set -u
python3 - "$1" "${WIDE:-20000}" <<'PY'
import os, subprocess, sys, time
m, n = sys.argv[1], int(sys.argv[2])
os.chdir(m + "/share")
os.mkdir("wide")
for i in range(n):
    os.close(os.open(f"wide/entry {i:06}", os.O_WRONLY | os.O_CREAT))

def requests():
    rows = (l.split("\t") for l in open(m + "/.p2p/requests").read().splitlines() if not l.startswith("#"))
    return {r[0]: int(r[1]) for r in rows}

def listing(*args):
    before, start = requests(), time.monotonic()
    out = subprocess.run(["ls", *args], stdout=subprocess.PIPE, check=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}).stdout
    took, after = time.monotonic() - start, requests()
    assert out.count(b"entry ") == n, (args, out.count(b"entry "))
    asked = {k: after[k] - before.get(k, 0) for k in after if after[k] > before.get(k, 0) and k not in ("open", "read", "lookup", "stat", "forget", "release")}
    asked["each"] = sum(after[k] - before.get(k, 0) for k in ("lookup", "stat", "getxattr") if k in after)
    return took, asked

cid = os.getxattr("wide", "user.p2p.cid").decode()
for where in ("wide", f"{m}/ipfs/{cid}"):
    first, asked = listing("-l", where)
    again, asked_again = listing("-l", where)
    bare, asked_bare = listing("-f", where)
    print(f"{n} entries, {where[:12]}: ls -l {first:.2f} s {asked}, again {again:.2f} s {asked_again}, ls -f {bare:.3f} s {asked_bare}",
          file=sys.stderr)
    for how in (asked, asked_again, asked_bare):  # requests are what it costs; the times depend on what else runs
        assert how["each"] < n / 100, f"attributes came one by one: {how}"
        assert how.get("readdir", 0) < n / 100, f"few entries an answer: {how}"
PY
