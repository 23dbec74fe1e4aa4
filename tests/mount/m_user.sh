#!/usr/bin/env bash
# What a user who is not root meets: places that are read-only for everybody say so (EROFS), modes in share/ are kept to, also
# for names that the kernel remembers. In a mount namespace of its own, where that user may use /dev/fuse.
set -u
[ "$(id -u)" = 0 ] || { echo "skipped: becomes another user, so needs root"; exit 77; }
if [ "${IN_NAMESPACE:-}" = "" ]; then
    said=$(unshare -m true 2>&1) || { echo "skipped: needs a mount namespace: $said"; exit 77; }
    export IN_NAMESPACE=1
    exec unshare -m --propagation private "$0" "$@"
fi
fail() { echo "m_user: $*"; exit 1; }
base=$TMP_DIR/user
chmod 755 "$TMP_DIR"
mkdir "$base" "$base/mnt" && mknod -m 666 "$base/fuse" c 10 229 && mount --bind "$base/fuse" /dev/fuse || { echo "skipped: no device of our own"; exit 77; }
chown -R 65534:65534 "$base/mnt" "$base"
as="env PATH=/usr/bin:/bin setpriv --reuid=65534 --regid=65534 --clear-groups"
$as "$MAIN" "$base/state" "$base/mnt" >"$base/out" 2>"$base/err" &
pid=$!
end() {
    kill "$pid"
    wait "$pid" || { cat "$base/err"; exit 1; }
    ! grep -E 'ERROR: |runtime error|Assertion|Sanitizer' "$base/err"
}
for _ in $(seq 1 200); do grep -q mounted "$base/out" && break; kill -0 $pid || { cat "$base/err"; fail "no start"; }; sleep 0.05; done
$as python3 - "$base/mnt" <<'PY' || { kill "$pid"; wait; exit 1; }
import errno, os, subprocess, sys, time

os.chdir(sys.argv[1])
os.umask(0o022)
INLINE = "bafkqaddimvwgy3zao5xxe3debi"
FILE = "ipfs/" + INLINE


def refused(want, call, *args, **kw):
    try:
        call(*args, **kw)
    except OSError as e:
        assert e.errno == want, f"{call.__name__}{args}: {e.strerror}, not {os.strerror(want)}"
        return
    raise AssertionError(f"{call.__name__}{args} was allowed")


def put(path, text="x"):
    with open(path, "w") as f:
        f.write(text)


def get(path):
    with open(path) as f:
        return f.read()


# read-only for everybody
assert os.getuid() != 0 and os.stat("share").st_uid == os.getuid()
assert get(FILE) == "hello world\n" and os.stat(FILE).st_mode & 0o7777 == 0o444 and os.stat("ipfs").st_mode & 0o7777 == 0o555
put("share/own")
for call, *args in [(os.open, "ipfs/new", os.O_WRONLY | os.O_CREAT), (os.open, FILE, os.O_WRONLY), (os.open, FILE, os.O_RDWR),
                    (os.open, FILE, os.O_RDONLY | os.O_TRUNC), (os.open, FILE + ".car", os.O_WRONLY), (os.mkdir, "ipfs/new"),
                    (os.symlink, "x", "ipfs/new"), (os.unlink, FILE), (os.rename, FILE, "ipfs/other"),
                    (os.rename, FILE, "share/other"), (os.truncate, FILE, 0), (os.chmod, FILE, 0o777), (os.utime, FILE),
                    (os.mkfifo, "ipfs/fifo"), (os.chmod, "ipfs", 0o777), (os.setxattr, FILE, "user.x", b"1"),
                    (os.chown, FILE, os.getuid(), os.getgid())]:
    refused(errno.EROFS, call, *args)
refused(errno.EXDEV, os.rename, "share/own", "ipfs/own")
for call, *args in [(os.mkdir, "new"), (os.open, "new", os.O_WRONLY | os.O_CREAT), (os.unlink, "README"), (os.rmdir, "share"),
                    (os.mkdir, ".p2p/new")]:
    refused(errno.EPERM, call, *args)
for name in ["README", "status", ".p2p/waiting", "peers/12D3KooWAAAA/ledger"]:
    refused(errno.EACCES, os.open, name, os.O_WRONLY)

# access(2) says what open would
R, W, X = os.R_OK, os.W_OK, os.X_OK
os.mkdir("share/dir")
for path, may, may_not in [(FILE, R, [W, X]), ("ipfs", R | X, [W]), ("share", R | W | X, []), ("share/dir", R | W | X, []),
                           ("share/own", R | W, [X]), ("README", R, [W, X]), (".p2p/ctl", R | W, [X]), (".", R | X, [W]),
                           (FILE + ".car", R, [W])]:
    assert os.access(path, may), (path, may)
    for one in may_not:
        assert not os.access(path, one), (path, one)
assert subprocess.run(["test", "-w", FILE]).returncode == 1

# modes in share/
os.chdir("share")
put("f", "text")
put("program", "#!/bin/sh\necho ran\n")
os.chmod("program", 0o700)
assert subprocess.run(["./program"], capture_output=True).stdout == b"ran\n"
os.chmod("program", 0o644)
refused(errno.EACCES, subprocess.run, ["./program"])
os.chmod("f", 0o000)
refused(errno.EACCES, get, "f")
refused(errno.EACCES, os.open, "f", os.O_WRONLY)
refused(errno.EACCES, os.truncate, "f", 0)
os.chmod("f", 0o400)
assert get("f") == "text"
refused(errno.EACCES, os.open, "f", os.O_RDWR)
refused(errno.EACCES, os.open, "f", os.O_RDONLY | os.O_TRUNC)
assert get("f") == "text"
fd = os.open("made", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o000)  # who makes it may use what it opened
assert os.write(fd, b"abc") == 3 and os.pread(fd, 3, 0) == b"abc"
os.ftruncate(fd, 1)
os.close(fd)
refused(errno.EACCES, os.open, "made", os.O_RDONLY)
os.chmod("f", 0o200)
os.close(os.open("f", os.O_WRONLY))
refused(errno.EACCES, os.open, "f", os.O_RDONLY)
refused(errno.EACCES, os.getxattr, "f", "user.p2p.cid")
refused(errno.EPERM, os.chown, "f", 0, 0)

os.makedirs("d/deep/er")
put("d/x")
put("d/deep/er/y", "deep")
os.chmod("d", 0o555)  # no names come or go
for call, *args in [(os.open, "d/new", os.O_WRONLY | os.O_CREAT), (os.mkdir, "d/new"), (os.symlink, "a", "d/new"),
                    (os.unlink, "d/x"), (os.rmdir, "d/deep"), (os.rename, "d/x", "d/z"), (os.rename, "d/x", "z"),
                    (os.rename, "f", "d/f"), (os.mknod, "d/new")]:
    refused(errno.EACCES, call, *args)
put("d/x", "still writable")
os.chmod("d", 0o755)
os.chmod("d/deep", 0o555)  # its ".." would change
refused(errno.EACCES, os.rename, "d/deep", "deep")
os.rename("d/deep", "d/deeper")
os.rename("d/deeper", "d/deep")
os.chmod("d/deep", 0o755)

os.chmod("d", 0o300)  # names can be used, not read
refused(errno.EACCES, os.listdir, "d")
assert get("d/x") == "still writable"
os.chmod("d", 0o755)
assert sorted(os.listdir("d")) == ["deep", "x"] and get("d/deep/er/y") == "deep"
inside = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
os.chmod("d", 0o600)  # names can be read, not used: also those that the kernel remembers
until = time.monotonic() + 5
while os.access("d/x", os.F_OK) and time.monotonic() < until:
    time.sleep(0.001)  # told after the answer to chmod
for call, *args in [(os.stat, "d/x"), (get, "d/x"), (get, "d/deep/er/y"), (os.chdir, "d"), (os.listdir, "d/deep"),
                    (os.mkdir, "d/new"), (os.unlink, "d/x")]:
    refused(errno.EACCES, call, *args)
for _ in range(3):
    assert sorted(e.name for e in os.scandir("d")) == ["deep", "x"]  # listing does not hand them out either
    refused(errno.EACCES, os.stat, "d/x")
refused(errno.EACCES, os.open, "x", os.O_RDONLY, dir_fd=inside)
os.chmod("d", 0o700)
assert get("d/deep/er/y") == "deep"
PY
end
exit $?
