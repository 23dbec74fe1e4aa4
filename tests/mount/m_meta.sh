#!/usr/bin/env bash
# What stat, statfs and the names of probes and temporary files tell.
set -u
python3 - "$1" "$(dirname "$0")" <<'PY'
import errno, os, stat, subprocess, sys
m = sys.argv[1]
os.chdir(m + "/share")
os.umask(0o022)

def put(path, data=b"same"):
    with open(path, "wb") as f:
        f.write(data)

def cid(path):
    return os.getxattr(path, "user.p2p.cid").decode()

def requests(name):
    return dict(l.split("\t")[:2] for l in open(m + "/.p2p/requests").read().splitlines() if "\t" in l).get(name, "0")

def absent(path):
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    raise AssertionError(path)

# owner and modes (16)
put("one"), put("two"), os.mkdir("dir"), put("dir/x"), put("script", b"#!/bin/sh\n")
os.chmod("script", 0o755)
me = (os.getuid(), os.getgid())
for path, mode in (("one", 0o644), ("dir", 0o755), ("script", 0o755), (m + "/ipfs", 0o555), (m + "/README", 0o444), (f"{m}/ipfs/{cid('one')}", 0o444),
                   (f"{m}/ipfs/{cid('dir')}", 0o555)):
    st = os.stat(path)
    assert ((st.st_uid, st.st_gid), stat.S_IMODE(st.st_mode)) == (me, mode), (path, st)
os.chmod("script", 0o4755)  # setuid means nothing here
assert stat.S_IMODE(os.stat("script").st_mode) == 0o755
for call in (lambda: os.chown("one", 12345, -1), lambda: os.chown("one", -1, 12345)):
    try:
        call()
    except PermissionError as e:
        assert e.errno == errno.EPERM
    else:
        raise AssertionError("given away")

# inodes: one a path in trees, one a CID in ipfs/, one device (17)
assert cid("one") == cid("two") and os.stat("one").st_ino != os.stat("two").st_ino
assert os.stat(f"{m}/ipfs/{cid('dir')}/x").st_ino == os.stat(f"{m}/ipfs/{cid('one')}").st_ino
before = os.stat("one").st_ino
os.rename("one", "three")
assert os.stat("three").st_ino == before
assert len({os.stat(p).st_dev for p in (m, m + "/ipfs", m + "/share", "three", f"{m}/ipfs/{cid('dir')}/x", m + "/README", m + "/peers")}) == 1
put("equal"), put("other", b"else")
assert subprocess.run(["mv", "-n", "equal", "two"]).returncode in (0, 1) and os.path.exists("equal")

# sizes (18): blocks follow the size, and a hole is told nowhere but at the end
with open("sparse", "wb") as f:
    f.truncate(10_000_000)
    f.seek(5_000_000)
    f.write(b"x")
for path in ("sparse", f"{m}/ipfs/{cid('sparse')}"):
    st = os.stat(path)
    assert st.st_size == 10_000_000 and st.st_blocks == (st.st_size + 511) // 512, st
    fd = os.open(path, os.O_RDONLY)
    assert (os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, 17, os.SEEK_DATA)) == (10_000_000, 17)
    os.close(fd)
subprocess.run(["sh", "-c", f"tar -cSf - -C {m}/ipfs {cid('sparse')} | tar -xOf - | cmp - {m}/share/sparse"], check=True)

# statfs (19): what is written is taken from what is free
vfs = os.statvfs(".")
assert vfs.f_namemax == 255 and vfs.f_bavail > 0 and vfs.f_blocks >= vfs.f_bavail and vfs.f_ffree > 1 << 20
put("big", os.urandom(64 << 20))
fd = os.open("big", os.O_RDONLY)
os.fsync(fd)
now = os.statvfs(".")
assert 60 << 20 < ((now.f_blocks - now.f_bavail) - (vfs.f_blocks - vfs.f_bavail)) * vfs.f_frsize < 80 << 20, (vfs, now)

# probes (25): refused by their syntax, and not asked again
for place in ("", "ipfs/"):
    for name in (".git", ".Trash", "autorun.inf", ".hidden", "desktop.ini", ".Trash-0"):
        absent(f"{m}/{place}{name}")
        asked = requests("lookup")
        for _ in range(20):
            absent(f"{m}/{place}{name}")
        assert requests("lookup") == asked, f"{place}{name} is asked for again"

# temporary names (13): in nobody's directory until renamed
os.mkdir("edit"), put("edit/doc")
plain = cid("edit")
for name in (".doc.swp", ".doc.swx", "4913", "doc~", ".#doc", ".doc.Ab12Xy", "film.part"):
    put("edit/" + name, b"half")
    assert cid("edit") == plain, name
    assert os.listdir(f"{m}/ipfs/{plain}") == ["doc"] and name in os.listdir("edit")
    os.rename("edit/" + name, "edit/new")
    assert cid("edit") != plain, name
    os.unlink("edit/new")
    assert cid("edit") == plain

# an open directory or file stays what it was (10)
old = f"{m}/ipfs/{plain}"
fd = os.open("edit/doc", os.O_RDONLY)
put("edit/.doc.tmp", b"new")
os.rename("edit/.doc.tmp", "edit/doc")
assert os.read(fd, 9) == b"same" and open("edit/doc", "rb").read() == b"new"
assert open(old + "/doc", "rb").read() == b"same" and cid("edit") != plain
PY
