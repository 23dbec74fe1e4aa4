#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A whole node dies at any moment, again and again on one store: by SIGKILL from outside, or before or within a write of its own to
the disk. After each restart: verify is clean, every synced file is whole, each replacement is old or new, no pinned block is missing.

P2P_CRASH_ROUNDS (15), P2P_CRASH_SEED (random; printed on failure).
"""
import contextlib, errno, hashlib, os, pathlib, random, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

ROUNDS = int(os.environ.get("P2P_CRASH_ROUNDS", "15"))
SEED = int(os.environ.get("P2P_CRASH_SEED", random.SystemRandom().randrange(1 << 32)))
SLOTS = 24
ABSENT = None


def content(number, size):
    return hashlib.shake_128(str(number).encode()).digest(size)


class Slot:
    """What a name may be after a crash: content numbers and sizes, ABSENT, or "empty"."""

    def __init__(self):
        self.may = {ABSENT}

    def synced(self, version):
        self.may = {version}

    def perhaps(self, *versions):
        self.may |= set(versions)


class Crash(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()

    # ---- what the writer does until the node dies ----

    def write(self, path, version, sync):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            data = memoryview(content(*version))
            while data:
                data = data[os.write(fd, data[:200000]):]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)

    def new_version(self):
        self.versions += 1
        size = self.rng.choice([0, 10, 3000, 70000, 300000, 1 << 20, 1500000])
        return (self.versions, size) if size else "empty"

    def bytes_of(self, version):
        return b"" if version == "empty" else content(*version)

    def step_write(self, i):
        version, sync = self.new_version(), self.rng.random() < 0.5
        slot, path = self.slots[i], self.node.share / f"s{i}"
        slot.perhaps(version, "empty")
        self.write(path, version if version != "empty" else (0, 0), sync)
        if sync:
            slot.synced(version)

    def step_replace(self, i):
        """As editors do: beside it, synced, renamed over it, the folder synced"""
        version = self.new_version()
        slot, path, aside = self.slots[i], self.node.share / f"s{i}", self.node.share / f"new{i}"
        self.replacing[i] = (frozenset(slot.may), version)
        self.write(aside, version if version != "empty" else (0, 0), True)
        slot.perhaps(version)
        os.rename(aside, path)
        fd = os.open(self.node.share, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        slot.synced(version)
        del self.replacing[i]

    def step_remove(self, i):
        slot = self.slots[i]
        slot.perhaps(ABSENT)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.node.share / f"s{i}")

    def step_pin(self, i):
        path = self.node.share / f"s{i}"
        cid = self.node.request("GET", f"/v1/cid?path=share/s{i}")["cid"] if path.exists() else None
        if not cid:
            return
        self.unsure.add(cid)
        self.node.request("POST", f"/v1/pin?path={cid}")
        self.pinned.add(cid)
        self.unsure.discard(cid)

    def step_unpin(self, _):
        if len(self.pinned) < 8:
            return
        cid = self.rng.choice(sorted(self.pinned))
        self.pinned.discard(cid)
        self.unsure.add(cid)
        self.node.request("POST", f"/v1/unpin?path={cid}")
        self.unsure.discard(cid)

    def step_gc(self, _):
        self.node.request("POST", "/v1/gc")

    def work(self):
        steps = [self.step_write] * 8 + [self.step_replace] * 5 + [self.step_remove, self.step_pin, self.step_pin, self.step_unpin,
                                                                    self.step_gc]
        try:
            while True:
                self.rng.choice(steps)(self.rng.randrange(SLOTS))
        except (OSError, solo.http.client.HTTPException, ValueError) as e:
            if isinstance(e, OSError) and e.errno in (errno.EIO, errno.EBADMSG, errno.ENOSPC, errno.EINVAL):
                self.wrong = e
        except solo.Refused as e:
            if e.args[0] not in ("ERR_NOT_FOUND", "ERR_MISSING", "ERR_CANCELLED", "ERR_CLOSED"):
                self.wrong = e

    # ---- what must be so afterwards ----

    def found(self, i):
        try:
            data = (self.node.share / f"s{i}").read_bytes()
        except FileNotFoundError:
            return ABSENT
        if not data:
            return "empty"
        for version in self.slots[i].may:
            if isinstance(version, tuple) and data == content(*version):
                return version
        return f"{len(data)} bytes that nobody wrote"

    def check_slots(self):
        for i, slot in enumerate(self.slots):
            got = self.found(i)
            self.assertIn(got, slot.may, f"s{i} after {self.how}")
            aside = self.node.share / f"new{i}"
            if i in self.replacing:
                before, version = self.replacing.pop(i)
                if aside.exists() and got == version and got not in before:
                    self.fail(f"new{i} was renamed and is there still")
            if aside.exists():
                aside.unlink()
            slot.may = {got}

    def check_pins(self):
        status = self.node.status()
        pins = {p["cid"] for p in self.node.rows("/v1/pins")}
        self.assertLessEqual(self.pinned, pins, f"pins that were answered, after {self.how}")
        self.assertLessEqual(pins, self.pinned | self.unsure)
        self.assertEqual(status["pins"], len(pins))
        self.assertEqual(status["store_wanted"], 0, "blocks that are referred to and not there")
        for cid in sorted(pins)[:3]:
            self.assertEqual(self.node.raw("GET", f"/v1/cat?path={cid}")[0], 200)
        self.pinned, self.unsure = pins, set()

    def check(self):
        self.node.verify()
        self.check_slots()
        self.check_pins()

    def kill_once(self, n):
        disk = self.node.disk
        self.wrong = None
        by_disk = n % 3 != 0
        disk.disarm()
        disk.count(solo.WRITE | solo.SYNC | solo.NAME)
        if by_disk:
            nth = self.rng.randrange(1, 30 if n % 5 == 0 else 900)
            self.how = f"death in write {nth}"
            disk.arm(nth, self.rng.choice([solo.KILL, solo.KILL_HALF]))
        self.node.spawn(shim=True)
        if not self.node.ready():
            return  # it died at its start: also a crash
        worker = threading.Thread(target=self.work)
        worker.start()
        if not by_disk:
            delay = self.rng.random() * 0.4
            self.how = f"SIGKILL after {delay:.3f} s"
            time.sleep(delay)
            self.node.kill()
        worker.join(10)
        if by_disk and worker.is_alive():  # a slow disk: so many writes would take long
            self.how = f"SIGKILL, before write {nth}"
        self.node.kill()
        worker.join(30)
        self.assertFalse(worker.is_alive(), "the writer hangs on a dead mount")
        if self.wrong:
            raise AssertionError(f"a wrong error: {self.wrong!r}")

    def test_dies_and_loses_nothing(self):
        self.rng = random.Random(SEED)
        self.versions, self.how = 0, ""
        self.slots = [Slot() for _ in range(SLOTS)]
        self.replacing, self.pinned, self.unsure = {}, set(), set()
        began = time.monotonic()
        with solo.Solo() as node:
            self.node = node
            for n in range(ROUNDS):
                with self.subTest(seed=SEED, round=n):
                    self.kill_once(n)
                    node.start()
                    self.check()
                    node.kill() if n % 2 else node.stop()
                if self._outcome.result.failures or self._outcome.result.errors:
                    return
            node.start()
            for name in os.listdir(node.share):
                os.unlink(node.share / name)
            for cid in self.pinned:
                node.request("POST", f"/v1/unpin?path={cid}")
            for _ in range(2):  # the first may have come before the last unlink was committed
                node.request("POST", "/v1/gc")
            fd = os.open(node.share, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            # what was just written is held until a sync of the mount's own says that its record is on disk: soon, then nothing is left
            end = time.monotonic() + 20
            while True:
                node.request("POST", "/v1/gc")
                status = node.status()
                left = (status["store_kept"], status["store_wanted"], status["pins"], status["store_blocks"])
                if left == (0, 0, 0, 0) or time.monotonic() > end:
                    break
                time.sleep(0.2)
            self.assertEqual(left, (0, 0, 0, 0), f"kept, wanted, pins, blocks that nothing refers to; seed {SEED}")
            node.verify()
            node.stop()
        print(f"{ROUNDS} crashes, seed {SEED}, {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
