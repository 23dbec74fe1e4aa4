#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A node on a small disk that is really full, again and again, and others write to the same disk. Files are written, overwritten,
truncated, replaced, removed, kept by symlinks; the node is killed at any moment. Always: the error is ENOSPC, nothing takes long,
what was synced is whole and can be read, a file that was being written is old, new or new up to a place; removing works; with room
again everything works without a restart, and an empty store gives the disk's room back.

Root makes the disk, an ext4 in a file or a tmpfs. P2P_FULL_ROUNDS (4 on each), P2P_FULL_SEED (random; printed; when a node is killed is
not in it), P2P_FULL_DISK (MiB, 48), P2P_FULL_KIND=ext4 or tmpfs: only that.
"""
import contextlib, errno, os, pathlib, random, shutil, sqlite3, subprocess, sys, tempfile, threading, time, unittest, unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

ROUNDS = int(os.environ.get("P2P_FULL_ROUNDS", "4"))
SEED = int(os.environ.get("P2P_FULL_SEED", random.SystemRandom().randrange(1 << 32)))
SIZE = int(os.environ.get("P2P_FULL_DISK", "48")) << 20
CONFIG = solo.QUIET + "quota = none\ndns-port = 0\n"
LONG = 20.0  # seconds that nothing takes
POOL = random.Random(1).randbytes(24 << 20)
ABSENT = None


def content(number, size):
    """A version's bytes: a longer one of the same number begins with them."""
    at = number * 1000003 % (len(POOL) // 2)
    return POOL[at:at + size]


class SmallDisk:
    """A file system of so many bytes at `path`."""

    def __init__(self, kind, size):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="p2p-full-"))
        self.path = self.base / "disk"
        self.path.mkdir()
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", self.path]
        else:
            with open(self.base / "image", "wb") as f:
                f.truncate(size)
            mkfs = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
            if not mkfs:
                self.remove()
                raise unittest.SkipTest("needs mkfs.ext4")
            subprocess.run([mkfs, "-q", "-m", "0", self.base / "image"], check=True)
            command = ["mount", "-o", "loop", self.base / "image", self.path]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            self.remove()
            raise unittest.SkipTest(f"cannot mount a {kind}: {made.stderr.strip()}")

    def remove(self):
        subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.base, ignore_errors=True)

    def free(self):
        s = os.statvfs(self.path)
        return s.f_bavail * s.f_frsize

    def take(self, leave):
        """Another writer takes all but `leave` bytes."""
        with open(self.path / "hog", "ab", buffering=0) as f, contextlib.suppress(OSError):
            while (n := self.free() - leave) > 0:
                f.write(bytes(min(n, 1 << 20)))

    def give(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path / "hog")


def whole(version):
    return lambda got: got is ABSENT if version is ABSENT else got == version


def mixed(old, new, at):
    """`new` written to a file of `old` from `at` on, as far as it came"""
    def is_it(got):
        if got is ABSENT or got[:at] != old[:at]:
            return False
        end = min(len(got), at + len(new))
        low, high = at, end
        while low < high:  # how far it is the new one
            middle = (low + high + 1) // 2
            low, high = (middle, high) if got[at:middle] == new[:middle - at] else (low, middle - 1)
        return got[low:] == old[low:] and len(got) >= len(old)
    return is_it


class Full:
    """The operations. `held`: name → bytes that were synced; `unsure`: name → what it may be; `links`: name → bytes that it keeps."""

    def __init__(self, test, node, disk, rng):
        self.test, self.node, self.disk, self.rng = test, node, disk, rng
        self.held, self.unsure, self.links, self.rows, self.number = {}, {}, {}, set(), 0
        self.dying = False  # then everything may fail for another reason
        self.refused = self.done = 0
        self.longest = (0, "")

    # ---- errors and time ----

    @contextlib.contextmanager
    def step(self, name, *allowed):
        begun = time.monotonic()
        try:
            yield
            self.done += 1
        except (OSError, solo.Refused, solo.http.client.HTTPException, ValueError) as e:
            if not self.dying or isinstance(e, solo.Refused):
                self.refused += 1
                self.check_error(name, e, allowed)
        took = time.monotonic() - begun
        self.longest = max(self.longest, (took, name))
        self.test.assertLess(took, LONG, name)

    def check_error(self, name, e, allowed):
        if isinstance(e, solo.Refused):
            self.test.assertIn(e.args[0], ("ERR_NO_SPACE", *allowed), f"{name}: {e}")
        else:
            self.test.assertIn(getattr(e, "errno", None), (errno.ENOSPC, *allowed), f"{name}: {e!r}")

    # ---- operations ----

    def path(self, name):
        return self.node.share / name

    def version(self, least=0):
        self.number += 1
        size = self.rng.choice([10, 3000, 70000, 300000, 1 << 20, 1500000, 3 << 20, 8 << 20])
        return content(self.number, max(size, least))

    def some(self, of):
        return self.rng.choice(sorted(of)) if of else None

    def forget(self, name):
        """What it may be from now on, until it is synced"""
        if name in self.unsure:
            return self.unsure[name]
        self.unsure[name] = [whole(self.held.pop(name, ABSENT))]
        return self.unsure[name]

    def sure(self, name, data):
        self.unsure.pop(name, None)
        self.held.pop(name, None)
        if data is not ABSENT:
            self.held[name] = data

    def write(self, fd, data, piece):
        data = memoryview(data)
        while data:
            data = data[os.write(fd, data[:piece]):]

    def put(self):
        name, data, sync = f"f{self.rng.randrange(12)}", self.version(), self.rng.random() < 0.6
        self.forget(name).append(mixed(b"", data, 0))
        with self.step(f"write {len(data)}"):
            fd = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                self.write(fd, data, self.rng.choice([4096, 100000, 1 << 20]))
                if sync:
                    os.fsync(fd)
                    self.sure(name, data)
            finally:
                os.close(fd)

    def overwrite(self):
        name = self.some(self.held)
        if not name:
            return
        old, new = self.held[name], self.version()
        at = self.rng.choice([0, self.rng.randrange(len(old) + 1)])
        self.forget(name).append(mixed(old, new, at))
        with self.step(f"overwrite {len(new)} at {at}"):
            fd = os.open(self.path(name), os.O_RDWR)
            try:
                os.lseek(fd, at, os.SEEK_SET)
                self.write(fd, new, self.rng.choice([30000, 1 << 20]))
                os.fsync(fd)
                self.sure(name, old[:at] + new + old[at + len(new):])
            finally:
                os.close(fd)

    def truncate(self):
        name = self.some(self.held)
        if not name:
            return
        old = self.held[name]
        to = self.rng.randrange(len(old) + 1)
        self.forget(name).append(whole(old[:to]))
        with self.step(f"truncate {len(old)} to {to}"):
            fd = os.open(self.path(name), os.O_RDWR)
            try:
                os.ftruncate(fd, to)
                os.fsync(fd)
                self.sure(name, old[:to])
            finally:
                os.close(fd)

    def sync_folder(self):
        fd = os.open(self.node.share, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def replace(self):
        name, data = f"f{self.rng.randrange(12)}", self.version()
        with self.step(f"replace {len(data)}"):
            try:
                with open(self.path("aside"), "wb", buffering=0) as f:
                    self.write(f.fileno(), data, 1 << 20)
                    os.fsync(f.fileno())
                self.forget(name).append(whole(data))
                os.rename(self.path("aside"), self.path(name))
                self.sync_folder()
                self.sure(name, data)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(self.path("aside"))
                raise

    def remove(self, name=None):
        name = name or self.some(self.held.keys() | self.unsure.keys())
        if not name:
            return
        self.forget(name).append(whole(ABSENT))
        with self.step("unlink", errno.ENOENT):
            os.unlink(self.path(name))
        with self.step("fsync of the folder"):
            self.sync_folder()
            if not self.dying:
                self.sure(name, ABSENT)

    def keep(self):
        """A symlink keeps what a file had, when that is gone."""
        name, link = self.some(self.held), f"l{self.rng.randrange(4)}"
        if not name or link in self.links or not self.held[name] or os.path.lexists(self.path(link)):
            return
        with self.step("symlink"):
            cid = self.node.request("GET", f"/v1/cid?path=share/{name}")["cid"]
            os.symlink(f"../ipfs/{cid}", self.path(link))
            self.sync_folder()
            self.links[link] = self.held[name]

    def drop_link(self):
        link = self.some(self.links)
        if link:
            del self.links[link]
            with self.step("unlink"):
                os.unlink(self.path(link))

    def tree(self):
        with self.step("a tree", errno.EEXIST):
            os.mkdir(self.path("tree"))
            for i in range(self.rng.randrange(100)):
                (self.path("tree") / f"n{i}").write_bytes(content(self.number + i, self.rng.randrange(5000)))

    def remove_tree(self):
        with self.step("rm -r", errno.ENOENT):
            shutil.rmtree(self.path("tree"))

    def database(self):
        row = self.number = self.number + 1
        try:
            with self.step("sqlite"):
                db = sqlite3.connect(self.path("db"), timeout=5, isolation_level=None)
                try:
                    db.execute("PRAGMA synchronous = EXTRA")
                    db.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, data BLOB)")
                    self.test.assertLessEqual(self.rows, {n for n, in db.execute("SELECT n FROM t")}, "rows that were committed")
                    db.execute("INSERT INTO t VALUES (?, ?)", (row, content(row, self.rng.randrange(100000))))
                    if self.dying:  # sqlite calls it done when it cannot open the folder to sync it
                        return
                    self.rows.add(row)
                    if len(self.rows) > 20:
                        gone, self.rows = self.rows, set()
                        db.execute("DELETE FROM t WHERE n < ?", (row,))
                        self.rows = gone and {row}
                    self.test.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
                finally:
                    db.close()
        except sqlite3.DatabaseError as e:
            full = any(w in str(e) for w in ("full", "disk I/O error", "unable to open"))  # a refused fsync is "disk I/O error" there
            self.test.assertTrue(self.dying or full, repr(e))

    def ask(self):
        what = self.rng.choice(["gc", "gc", "cid", "status"])
        with self.step(what):
            if what == "gc":
                self.node.request("POST", "/v1/gc")
            elif what == "cid":
                self.node.request("GET", "/v1/cid?path=share")
            else:
                self.node.status()

    def hog(self):
        if self.rng.random() < 0.5:
            self.disk.give()
        else:
            self.disk.take(self.rng.choice([0, 4096, 100000, 2 << 20, 10 << 20]))

    OPERATIONS = ([put] * 8 + [overwrite] * 4 + [replace] * 3 + [truncate] * 2 + [remove] * 4 + [keep, drop_link, tree, remove_tree] +
                  [database] * 2 + [ask] * 2 + [hog] * 3)

    def work(self, most):
        for _ in range(most):
            if self.dying:
                return
            self.rng.choice(self.OPERATIONS)(self)
            self.read_some()

    # ---- what must be so ----

    def read(self, name):
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return ABSENT

    def read_some(self):
        name, link = self.some(self.held), self.some(self.links)
        with self.step("read"):
            if name:
                self.same(name, self.read(name), self.held[name])
            if link:
                self.same(link, self.path(link).read_bytes(), self.links[link])

    def same(self, name, got, data):
        if got != data:
            at = got is not ABSENT and next((i for i, (a, b) in enumerate(zip(got, data)) if a != b), min(len(got), len(data)))
            self.test.fail(f"{name}: was synced, {len(data)} bytes; is {got and len(got)}, other at {at}")

    def check(self):
        for name, data in self.held.items():
            self.same(name, self.read(name), data)
        for link, data in self.links.items():
            self.same(link, self.path(link).read_bytes(), data)
        for name, may in self.unsure.items():
            got = self.read(name)
            self.test.assertTrue(any(m(got) for m in may), f"{name}: {got and len(got)} bytes that nobody wrote; {len(may)}")

    def after_kill(self):
        self.dying = False
        self.check()
        for name in list(self.unsure):
            self.unsure[name] = [whole(self.read(name))]  # nobody wrote since: it stays
        with contextlib.suppress(OSError):
            os.unlink(self.path("aside"))

    def figures(self):
        status = self.node.status()
        state = self.node.home / "state"
        return (f"{status['state']}; {self.disk.free()} free, {[(k, v) for k, v in status.items() if k.startswith('store')]}, "
                f"{[(str(f.relative_to(state)), f.stat().st_blocks * 512) for f in state.rglob('*')]}, held "
                f"{sum(map(len, self.held.values()))}, links {sum(map(len, self.links.values()))}, "
                f"{sum(f.lstat().st_size for f in self.node.share.rglob('*'))} in share")

    def within(self, seconds, what, condition):
        end = time.monotonic() + seconds
        while True:
            with self.step(what):
                if condition():
                    return
            self.test.assertLess(time.monotonic(), end, f"{what}: not in {seconds} s; {self.figures()}")
            time.sleep(0.02)

    def sync_file(self, name):
        fd = os.open(self.path(name), os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        return True

    def make_room(self, all_of_it=False):
        """Others have all the rest of the disk: what is removed is collected all the same."""
        self.disk.take(0)
        for name in os.listdir(self.node.share) if all_of_it else list(self.held.keys() | self.unsure.keys()):
            self.remove(name)

        def collected():
            self.node.request("POST", "/v1/gc")
            status = self.node.status()
            return status["store_used"] - status["store_kept"] < 2 << 20  # a file that cannot be stored yet holds something

        self.within(10, "room beside others", collected)
        self.disk.give()

    def settle(self):
        """With room again: what is there is synced, and everything works, without a restart."""
        if self.rng.random() < 0.5:
            self.disk.give()
        else:
            self.make_room()
        removed = 0
        while sum(map(len, self.held.values())) + sum(map(len, self.links.values())) > SIZE // 3 or removed < 2:
            links = self.rng.random() < 0.3 and self.links
            self.drop_link() if links else self.remove(self.some(self.held.keys() | self.unsure.keys()))
            removed += 1
        for name in list(self.unsure):
            self.test.assertTrue(any(m(self.read(name)) for m in self.unsure[name]), name)
            if self.read(name) is ABSENT:
                self.within(10, "fsync of the folder", lambda: self.sync_folder() or True)
            else:
                if len(self.read(name)) > 2 << 20:
                    self.remove(name)
                else:
                    self.within(10, "fsync", lambda n=name: self.sync_file(n))
        self.within(10, "fsync of the folder", lambda: self.sync_folder() or True)
        for name in list(self.unsure):
            self.sure(name, self.read(name))
        self.within(10, "working", lambda: self.node.request("POST", "/v1/gc") and self.node.status()["state"].startswith("working"))
        refused = self.refused
        data = content(self.number, 1 << 20)
        with self.step("write with room"):
            self.path("probe").write_bytes(data)
            self.sync_file("probe")
            self.test.assertEqual(self.read("probe"), data)
            os.unlink(self.path("probe"))
        self.test.assertEqual(self.refused, refused, "there is room")

    def empty(self, free):
        """Everything is removed: all room comes back."""
        self.disk.give()
        for name in os.listdir(self.node.share):
            path = self.path(name)
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self.held, self.unsure, self.links, self.rows = {}, {}, {}, set()

        def is_empty():
            self.node.request("POST", "/v1/gc")
            return self.node.status()["store_blocks"] == 0

        self.within(20, "an empty store", is_empty)
        least = free - (6 << 20)  # LMDB's file, the ballast, the log
        self.within(10, "the disk's room", lambda: self.disk.free() >= least)
        self.node.verify()


class FullDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need(shim=False)
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root, to mount a small disk")

    def kill_later(self, full):
        def kill():
            full.dying = True
            self.node.kill()
        timer = threading.Timer(full.rng.random() * 1.0, kill)
        timer.start()
        return timer

    def one(self, full, n):
        killed = n % 2 == 1
        timer = self.kill_later(full) if killed else None
        full.work(10000 if killed else 60)
        if killed:
            timer.join()
            if full.rng.random() < 0.5:
                full.disk.give()
            self.node.start()
            full.after_kill()
        else:
            full.check()
        self.node.verify()
        if n % 3 == 2:
            full.settle()
        if n % 6 == 5:
            full.empty(self.free)

    @contextlib.contextmanager
    def small(self, kind):
        """A node on a small disk of this kind"""
        if os.environ.get("P2P_FULL_KIND", kind) != kind:
            self.skipTest("not asked for")
        disk = SmallDisk(kind, SIZE)
        self.addCleanup(disk.remove)
        with unittest.mock.patch.dict(os.environ, TMPDIR=str(disk.path)):
            node = solo.Solo(CONFIG)
        log = node.home / "log"  # elsewhere: the program itself ends with an error when it could not say that it is up
        node.log.close()
        log.unlink()
        log.symlink_to(disk.base / "log")
        node.log = open(log, "ab")
        with node:
            self.node, self.free = node, disk.free()
            node.start()
            yield Full(self, node, disk, random.Random(SEED))
            node.stop()

    def run_on(self, kind):
        begun = time.monotonic()
        with self.small(kind) as full:
            for n in range(ROUNDS):
                try:
                    self.one(full, n)
                except BaseException:
                    sys.stderr.write(f"seed {SEED}, round {n}, {kind}\n")
                    raise
            full.empty(self.free)
        print(f"{kind}: {ROUNDS} rounds, seed {SEED}, {full.done} done, {full.refused} refused, longest {full.longest[0]:.2f} s "
              f"({full.longest[1]}), {time.monotonic() - begun:.0f} s", file=sys.stderr)

    def fill(self, full, name, size):
        """Files of this size until there is no room"""
        for i in range(10000):
            try:
                full.path(f"{name}{i}").write_bytes(content(full.number + i, size))
                full.sync_file(f"{name}{i}")
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC)
                return
        self.fail("the disk does not become full")

    def test_what_is_removed_makes_room(self):
        """Also when our own blocks, of all sizes, are what has filled the disk, and others have taken what they left"""
        for kind, others in (("tmpfs", False), ("ext4", False), ("tmpfs", True)):
            with self.subTest(kind, others=others), self.small(kind) as full:
                for name, size in (("big", 3 << 20), ("middle", 100000), ("little", 1000)):
                    self.fill(full, name, size)
                if others:
                    full.disk.take(0)
                    full.make_room(all_of_it=True)
                full.empty(self.free)

    def test_the_answer_of_gc_is_room(self):
        """Whoever asked for it writes at once."""
        with self.small("ext4") as full:
            for _ in range(5):
                self.fill(full, "f", 8 << 20)
                for name in os.listdir(self.node.share):
                    os.unlink(full.path(name))
                full.within(20, "collected", lambda: self.node.request("POST", "/v1/gc") and self.node.status()["store_kept"] == 0 and
                            self.node.status()["store_blocks"] == 0)
                self.assertGreater(full.disk.free(), 4 << 20)
                full.path("at once").write_bytes(content(1, 10 << 20))
                full.sync_file("at once")

    def test_a_file_that_did_not_fit_is_cut_or_written_over(self):
        """What was refused of it is not waited for any more, and what was stored of it makes room."""
        for how in "truncate", "write":
            for wait in 0, 1.5:  # the file is tried again every second
                with self.subTest(how, wait=wait), self.small("tmpfs") as full:
                    with self.assertRaises(OSError) as refused, open(full.path("big"), "wb", buffering=0) as f:
                        for n in range(100):
                            f.write(content(n, 1 << 20))
                    self.assertEqual(refused.exception.errno, errno.ENOSPC)
                    time.sleep(wait)
                    with full.step(how):
                        if how == "truncate":
                            os.truncate(full.path("big"), 10 << 20)
                    if how == "write":
                        full.within(10, how, lambda: full.path("big").write_bytes(content(1, 100000)))
                    full.within(10, "room", lambda: self.node.request("POST", "/v1/gc") and full.disk.free() > SIZE // 2)
                    full.within(10, "fsync", lambda: full.sync_file("big"))
                    self.assertEqual(full.read("big")[:100], content(0 if how == "truncate" else 1, 100))

    def test_again_and_again(self):
        """What is overwritten and synced many times a second does not fill the disk with what it was."""
        with self.small("tmpfs") as full:
            full.path("base").write_bytes(content(1, 4 << 20))
            fd = os.open(full.path("base"), os.O_RDWR)
            for n in range(100):
                os.pwrite(fd, content(n, 1 << 20), 1 << 20)
                os.fsync(fd)
            os.close(fd)

    def test_ext4(self):
        self.run_on("ext4")

    def test_tmpfs(self):
        self.run_on("tmpfs")


if __name__ == "__main__":
    unittest.main(verbosity=2)
