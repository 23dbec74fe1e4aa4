#!/usr/bin/env bash
# What closing a file asks of us: nothing when it was only written or only read; what was both may have reads that wait. Bytes are
# there for whoever looks next.
set -u
fail() { echo "m_closing: $*"; exit 1; }
M=$1
D=$M/share/closing
mkdir "$D" || fail "mkdir"
asked() { awk -F'\t' -v op="$1" '$1 == op { print $2 }' "$M/.p2p/requests"; }
closes() { # commands: how many FLUSHs they made
    local before after
    before=$(asked close)
    "$@" || fail "$*"
    after=$(asked close)
    echo $((after - before))
}
write_many() {
    python3 - "$D" "$1" <<'PY'
import os, sys
kind = {"w": os.O_WRONLY | os.O_CREAT, "again": os.O_WRONLY, "rw": os.O_RDWR, "r": os.O_RDONLY}[sys.argv[2]]
for i in range(100):
    path = f"{sys.argv[1]}/f{i}"
    fd = os.open(path, kind, 0o644)
    if kind != os.O_RDONLY:
        os.write(fd, f"{sys.argv[2]} {i}".encode() * 10)
    os.close(fd)
    with open(path, "rb") as f:
        got = f.read()
    assert kind == os.O_RDONLY or got.startswith(f"{sys.argv[2]} {i}".encode() * 10), (path, got)
    assert os.stat(path).st_size == len(got)
PY
}
none=$(closes true) # reading the counters
[ "$(closes write_many w)" = "$none" ] || fail "new files"
[ "$(closes write_many again)" = "$none" ] || fail "files that were there"
[ "$(closes write_many r)" = "$none" ] || fail "reading"
[ "$(closes write_many rw)" = $((none + 100)) ] || fail "reading and writing"
