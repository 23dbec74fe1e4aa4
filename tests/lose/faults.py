#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A disk that fails under a node: no room, an error, half a write, no descriptor, no memory for a big buffer, at every call of the
store in turn: once, and from that call on. The errno is right, the status tells why, what is held is read, nothing acknowledged is
lost, also by a kill while it lasts, and when it is over the node works as before, without a restart.

By default some of the calls are tried, spread evenly; P2P_FAULT_ALL=1: every one. P2P_FAULT=ENOSPC,EIO: only those faults.
"""
import contextlib, errno, hashlib, os, pathlib, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from solo import BLOCK, FAIL, FOREVER, MEMORY, META, NAME, SHORT, SYNC, WRITE

ALL = bool(os.environ.get("P2P_FAULT_ALL"))
TRIES = int(os.environ.get("P2P_FAULT_TRIES", "5"))
CONFIG = solo.QUIET + "timeout-read = 1s\ntimeout-metadata = 1s\n"
CANNOT = "the store cannot write: "


class Fault:
    def __init__(self, action, kinds, error, errnos, codes, says=()):
        self.action, self.kinds, self.error = action, kinds, error
        self.errnos, self.codes = errnos, codes  # what the mount and the control socket may answer
        self.says = says  # in the status, while it lasts and writes are refused; (): not every refusal is the store's


# A disk that takes half of a write is full or broken.
FAULTS = {
    "ENOSPC": Fault(FAIL, WRITE, errno.ENOSPC, {errno.ENOSPC}, {"ERR_NO_SPACE"}, ["the disk is full"]),
    "EIO": Fault(FAIL, WRITE | SYNC, errno.EIO, {errno.EIO}, {"ERR_IO"}, ["the disk fails"]),
    "short": Fault(SHORT, WRITE, 0, {errno.EIO, errno.ENOSPC}, {"ERR_IO", "ERR_NO_SPACE"}),  # the next half may do
    "EMFILE": Fault(FAIL, NAME, errno.EMFILE, {errno.EMFILE}, {"ERR_NO_FILES"}),
    "ENOMEM": Fault(FAIL, MEMORY, errno.ENOMEM, {errno.ENOMEM}, {"ERR_NO_MEMORY"}),
}
if os.environ.get("P2P_FAULT"):
    FAULTS = {name: FAULTS[name] for name in os.environ["P2P_FAULT"].split(",")}


def content(number, size):
    return hashlib.shake_128(str(number).encode()).digest(size)


class Script:
    """Operations on one node. What was acknowledged is in `held`: name → version; names of which nothing is sure are in `unsure`."""

    def __init__(self, node, test):
        self.node, self.test, self.held, self.unsure, self.number = node, test, {}, {}, 0
        self.pins, self.fault, self.refused = set(), None, 0

    @contextlib.contextmanager
    def may_fail(self):
        try:
            yield
        except OSError as e:
            self.refused += 1
            allowed = self.fault.errnos if self.fault else set()
            self.test.assertIn(e.errno, allowed, f"{errno.errorcode.get(e.errno, repr(e))} from {e.filename}")
        except solo.Refused as e:
            self.refused += 1
            self.test.assertIn(e.args[0], self.fault.codes if self.fault else set(), e.args)

    def put(self, name, size):
        self.number += 1
        version = (self.number, size)
        before = self.unsure.pop(name, set()) | {self.held.pop(name, None)}
        self.unsure[name] = before | {version, (0, 0)}
        with self.may_fail():
            fd = os.open(self.node.share / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                data = memoryview(content(*version))
                while data:
                    data = data[os.write(fd, data[:131072]):]
                os.fsync(fd)
            finally:
                os.close(fd)
            self.held[name] = version
            del self.unsure[name]

    def sync_folder(self):
        fd = os.open(self.node.share, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old, new):
        if old not in self.held:
            return
        version = self.held.pop(old)
        before = self.unsure.pop(new, set()) | {self.held.pop(new, None)}
        self.unsure[new], self.unsure[old] = before | {version}, {version, None}
        with self.may_fail():
            os.rename(self.node.share / old, self.node.share / new)
            self.sync_folder()
            self.held[new] = version
            del self.unsure[new], self.unsure[old]

    def remove(self, name):
        self.unsure[name] = self.unsure.get(name, set()) | {None, self.held.pop(name, None)}
        with self.may_fail():
            if (self.node.share / name).exists():
                os.unlink(self.node.share / name)
            self.sync_folder()
            del self.unsure[name]

    def pin(self, name):
        with self.may_fail():
            cid = self.node.request("GET", f"/v1/cid?path=share/{name}")["cid"]
            self.node.request("POST", f"/v1/pin?path={cid}")
            self.pins.add(cid)

    def unpin(self):
        for cid in sorted(self.pins):
            with self.may_fail():
                self.pins.discard(cid)
                self.node.request("POST", f"/v1/unpin?path={cid}")

    def collect(self):
        with self.may_fail():
            self.node.request("POST", "/v1/gc")
        self.put("collected", 100)  # synced: then room is given back

    def run(self):
        self.put("a", 300000)
        self.put("b", 2500)
        with self.may_fail():
            if not os.path.isdir(self.node.share / "d"):
                os.mkdir(self.node.share / "d")
        self.put("new", 70000)
        self.rename("new", "a")
        if "a" in self.held:
            self.pin("a")
        self.put("big", 2200000)
        self.remove("b")
        self.collect()
        with self.may_fail():
            if os.path.isdir(self.node.share / "d"):
                os.rmdir(self.node.share / "d")
        self.unpin()
        self.put("after", 100)

    def read(self, name):
        try:
            return (self.node.share / name).read_bytes()
        except FileNotFoundError:
            return None

    @staticmethod
    def could_be(got, version):
        """A write that failed may have been done in part: from the beginning, without holes or other bytes."""
        if got is None or version is None:
            return got is version
        return len(got) <= version[1] and got == content(version[0], len(got))

    def check_held(self):
        for name, version in self.held.items():
            self.test.assertEqual(self.read(name), content(*version), f"{name} was synced")

    def settle(self):
        """After the fault: cp, fsync and read work, at once or after the moment that a retry takes."""
        end = time.monotonic() + 10
        while True:
            try:
                probe = self.node.share / "probe"
                with open(probe, "wb") as f:
                    f.write(content(1, 70000))
                    f.flush()
                    os.fsync(f.fileno())
                self.test.assertEqual(probe.read_bytes(), content(1, 70000))
                os.unlink(probe)
                if self.node.status()["state"] == "working":
                    return
            except OSError as e:
                self.test.assertIn(e.errno, self.fault.errnos if self.fault else set())
            self.test.assertLess(time.monotonic(), end, f"does not work again: {self.node.status()['state']}; "
                                                        f"{[p for p in self.node.rows('/v1/pins') if p['state'] != 'complete']}")
            time.sleep(0.02)

    def sync_file(self, name):
        """A file whose blocks were refused is tried again after a second, and says so until then."""
        fd = os.open(self.node.share / name, os.O_RDWR)
        end = time.monotonic() + 10
        while True:
            try:
                os.fsync(fd)
                break
            except OSError as e:
                self.test.assertIn(e.errno, self.fault.errnos)
                self.test.assertLess(time.monotonic(), end, f"{name} cannot be synced")
                time.sleep(0.02)
        with contextlib.suppress(OSError):
            os.close(fd)

    def be_sure(self):
        """Nobody wrote what is in a file of which nothing is sure? Then it is synced, and what is there is what is so."""
        for name, versions in self.unsure.items():
            got = self.read(name)
            now = [v for v in versions if self.could_be(got, v)]
            self.test.assertTrue(now, f"{name}: {got and len(got)} bytes that are none of what was written: {versions}")
            if got is not None:
                self.sync_file(name)
                self.held[name] = (now[0][0], len(got))
        self.unsure = {}
        self.sync_folder()

    def forget_unsure(self):
        """After a kill: what was not acknowledged may be there, in part, or not be."""
        for name, versions in self.unsure.items():
            with contextlib.suppress(OSError):
                got = self.read(name)
                self.test.assertTrue(any(self.could_be(got, v) for v in versions), f"{name}: {got and len(got)}: {versions}")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.node.share / name)
        self.unsure = {}
        self.sync_folder()


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()

    def calls_of(self, kinds, what, script=None):
        disk = self.node.disk
        disk.disarm()
        disk.count(kinds)
        before = disk.calls
        what()
        if kinds == NAME and script:
            self.wait(lambda: script.collect() or disk.calls > before)
        return disk.calls - before

    @staticmethod
    def wait(condition, most=3.0):
        """For what follows in a moment: files are opened to give room back, the text of the status is made once a second."""
        end = time.monotonic() + most
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.01)
        return condition()

    @staticmethod
    def chosen(most, tries=TRIES):
        if ALL or most <= tries:
            return range(1, most + 1)
        return [1 + i * (most - 1) // (tries - 1) for i in range(tries)]

    def strike(self, script, nth, more):
        """The script with the fault; what must be so while it lasts. How often it struck."""
        node, fault = self.node, script.fault
        script.refused = 0
        node.disk.arm(nth, fault.action, fault.kinds, fault.error, more)
        if fault.kinds == MEMORY and more:  # a write waits for memory, like one that is over the budget
            timer = threading.Timer(1.0, node.disk.disarm)
            timer.start()
            script.run()
            timer.cancel()
            timer.join()
        else:
            script.run()
        if fault.kinds == NAME:
            self.wait(lambda: script.collect() or node.disk.struck)
        struck = node.disk.struck
        self.assertIsNone(node.process.poll(), f"the node ended with {node.process.returncode}")
        if script.refused:
            self.assertGreater(struck, 0)
        if script.refused and more and fault.says:
            state = node.status()["state"]
            self.assertTrue(state.startswith(CANNOT) and any(say in state for say in fault.says), state)
            self.assertTrue(self.wait(lambda: CANNOT in (node.mount / "status").read_text()))
        for name in list(script.held)[:2]:  # what is held is read, whatever the disk says to writes
            self.assertEqual(script.read(name), content(*script.held[name]))
        return struck

    def over(self, script):
        self.node.disk.disarm()
        script.settle()
        script.check_held()
        script.be_sure()
        self.assertIsNone(self.node.process.poll())

    def killed(self, script):
        self.node.kill()
        self.node.disk.disarm()
        self.node.start(shim=True)
        script.check_held()
        script.forget_unsure()
        self.node.verify()

    def turn(self, name, more):
        begun = time.monotonic()
        with solo.Solo(CONFIG) as node:
            self.node = node.start(shim=True)
            script = Script(node, self)
            script.run()
            most = self.calls_of(FAULTS[name].kinds, script.run, script)
            script.settle()
            script.fault, struck, refused = FAULTS[name], 0, 0
            for i, nth in enumerate(self.chosen(most)):
                where = f"{name}, call {nth} of {most}, {'until it ends' if more else 'once'}"
                with self.subTest(where):
                    struck += self.strike(script, nth, more) > 0
                    refused += script.refused
                    self.killed(script) if i % 2 and struck else self.over(script)
                if node.process.poll() is not None:
                    self.fail(f"{where}: the node ended\n{node.tail()}")
            self.assertTrue(struck or most == 0)
            script.fault = None
            node.disk.disarm()
            node.verify()
            node.kill()
            node.start()
            script.check_held()
            node.verify()
            node.stop()
        print(f"{name}, {'until it ends' if more else 'once'}: {most} calls, {struck} struck, {refused} refused, "
              f"{time.monotonic() - begun:.0f} s", file=sys.stderr)

    @staticmethod
    def syncs(fd):
        try:
            os.fsync(fd)
            return True
        except OSError:
            return False

    @staticmethod
    def makes(folder):
        try:
            folder.mkdir(exist_ok=True)
            return True
        except OSError:
            return False

    @staticmethod
    def lists(folder):
        try:
            os.listdir(folder)
            return True
        except OSError:
            return False

    def test_a_file_that_is_closed_while_nothing_can_be_read(self):
        """Its end is noticed all the same: what has no name any more does not stay until the next start."""
        with solo.Solo(CONFIG) as node:
            self.node = node.start(shim=True)
            fd, folder = os.open(node.share / "gone", os.O_WRONLY | os.O_CREAT), os.open(node.share, os.O_RDONLY)
            os.write(fd, content(1, 3 << 20))
            os.fsync(fd)
            os.unlink(node.share / "gone")
            os.fsync(folder)
            # After a meta page that could not be written LMDB wants to be opened again, and that fails too
            node.disk.arm(1, FAIL, META | NAME, errno.EIO, FOREVER)
            os.mkdir(node.share / "folder")
            with contextlib.suppress(OSError):
                os.fsync(folder)
            self.wait(lambda: not self.lists(node.share), 10)
            os.close(fd)
            self.assertFalse(self.lists(node.share), "still shut, behind the release")
            node.disk.disarm()
            self.wait(lambda: self.syncs(folder), 10)
            os.close(folder)
            os.rmdir(node.share / "folder")
            self.wait(lambda: node.request("POST", "/v1/gc") and node.status()["store_used"] == 0, 10)
            self.assertEqual(node.status()["store_used"], 0)

    def overwritten_in_vain(self, script, name, folder):
        """The disk is full, the file's record is behind blocks that were refused, and all others are behind it: old and new version.
        Bytes or a record that come after the refusal are not taken: then it is tried again."""
        disk = self.node.disk
        for attempt in range(1, 30):
            old, new = script.held[name], (-1000 * script.number - attempt, script.held[name][1])
            disk.arm(1, FAIL, BLOCK, errno.ENOSPC, FOREVER)
            written = 0
            with contextlib.suppress(OSError), open(self.node.share / name, "r+b", buffering=0) as f:
                written = f.write(content(*new))
            if written == new[1] and self.wait(lambda: not self.syncs(folder), 0.3):
                return old, new
            disk.disarm()
            script.settle()
            script.sync_file(name)
            script.put(name, new[1])
        self.fail("the record was never behind its blocks")

    def test_a_removal_beside_a_file_that_is_overwritten(self):
        """On a full disk: the removal does not wait for the file's new bytes, and a kill then finds these or the old ones, whole."""
        with solo.Solo(CONFIG) as node:
            self.node = node.start(shim=True)
            script = Script(node, self)
            script.fault = Fault(FAIL, BLOCK, errno.ENOSPC, {errno.ENOSPC}, {"ERR_NO_SPACE"})
            script.put("film", 3 << 20)
            for killed in True, True, False:
                script.put("gone", 3 << 20)
                folder = os.open(node.share, os.O_RDONLY)
                old, new = self.overwritten_in_vain(script, "film", folder)
                os.unlink(node.share / "gone")
                del script.held["gone"]
                self.assertTrue(self.wait(lambda: self.syncs(folder), 10), "the removal waits")
                os.close(folder)
                if killed:
                    node.kill()
                node.disk.disarm()
                if killed:
                    node.start(shim=True)
                    self.assertEqual(script.read("film"), content(*old), "no block of the new bytes was stored")
                else:
                    script.sync_file("film")
                    node.kill()
                    node.start(shim=True)
                    self.assertEqual(script.read("film"), content(*new))
                self.assertFalse((node.share / "gone").exists())
                node.verify()
            os.unlink(node.share / "film")
            self.wait(lambda: node.request("POST", "/v1/gc") and node.status()["store_used"] == 0, 10)
            self.assertEqual(node.status()["store_used"], 0)

    def fails(self, error, what, within=10):
        """In time, with that error: what waits for ever would end with the node."""
        got = []

        def run():
            try:
                what()
                got.append(0)
            except OSError as e:
                got.append(e.errno)
        t = threading.Thread(target=run, daemon=True)
        t.start()
        t.join(within)
        self.assertEqual(got, [error], "[]: it waits still")

    def test_memory_that_is_full_of_what_the_disk_refuses(self):
        """Whatever needs some of it is told: a file without anything of its own there to be refused, folders, a new name."""
        with solo.Solo(CONFIG + "memory = 16M\n") as node:
            self.node = node.start(shim=True)
            many = node.share / "many"
            many.mkdir()
            for i in range(20000):
                os.close(os.open(many / f"{i:0200}", os.O_WRONLY | os.O_CREAT))
            os.sync()
            fill, hole = (os.open(node.share / name, os.O_RDWR | os.O_CREAT) for name in ("fill", "hole"))
            os.ftruncate(hole, 8 << 20)
            node.disk.arm(1, FAIL, WRITE, errno.ENOSPC, FOREVER)
            run = node.run("cid", many, timeout=20)
            self.assertNotEqual(run.returncode, 0, run.stdout)
            self.fails(errno.ENOSPC, lambda: os.mkdir(node.share / "folder"))
            at, end = 0, time.monotonic() + 8  # each second a write may try whether it is over
            while time.monotonic() < end:
                try:
                    at += os.pwrite(fill, bytes([at >> 20]) * (1 << 20), at)
                except OSError:
                    time.sleep(0.05)
            self.fails(errno.ENOSPC, lambda: os.fsync(hole))
            node.disk.disarm()
            self.assertTrue(self.wait(lambda: self.syncs(fill) and self.syncs(hole), 30))
            self.assertEqual(node.run("cid", many).returncode, 0)
            os.close(fill)
            os.close(hole)
            node.verify()

    def test_memory_that_is_short_when_the_disk_takes_all_again(self):
        """Nobody is told of a full disk because of what was refused and then removed."""
        with solo.Solo(CONFIG) as node:
            self.node = node.start(shim=True)
            node.disk.arm(1, FAIL, WRITE, errno.ENOSPC, FOREVER)
            with open(node.share / "refused", "wb", buffering=0) as f:
                f.write(content(1, 1 << 20))
                self.fails(errno.ENOSPC, lambda: os.fsync(f.fileno()))
            os.unlink(node.share / "refused")
            node.disk.disarm()
            folder = os.open(node.share, os.O_RDONLY)
            self.assertTrue(self.wait(lambda: self.makes(node.share / "folder") and self.syncs(folder), 10))
            os.close(folder)
            time.sleep(2.5)  # what was refused is looked at each second
            node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER)
            got = []

            def write():
                with open(node.share / "file", "wb", buffering=0) as f:
                    try:
                        got.append(os.pwrite(f.fileno(), content(2, 4096), 200 << 10))
                    except OSError as e:
                        got.append(e)
            t = threading.Thread(target=write)
            t.start()
            time.sleep(1)
            node.disk.disarm()
            t.join()
            self.assertEqual(got, [4096])

    def test_at_the_start(self):
        """It starts, or ends with a sentence; the next start without the fault finds everything."""
        with solo.Solo(CONFIG) as node:
            self.node = node.start(shim=True)
            script = Script(node, self)
            script.run()
            node.stop()
            for name, fault in FAULTS.items():
                if name == "ENOMEM":
                    continue  # what a node needs to exist does not fail, says the design
                most = self.calls_of(fault.kinds, lambda: node.start(shim=True).stop())
                for nth in self.chosen(most, 4):
                    with self.subTest(fault=name, nth=nth):
                        node.disk.arm(nth, fault.action, fault.kinds, fault.error, 0)
                        size = os.path.getsize(node.home / "log")
                        node.spawn(shim=True)
                        if node.ready():
                            node.stop()
                            continue
                        self.assertNotIn(node.process.returncode, (0, -6, -11), node.tail())
                        with open(node.home / "log", errors="replace") as f:
                            f.seek(size)
                            self.assertIn("p2p: ", f.read(), "a sentence")
            node.disk.disarm()
            node.start()
            script.check_held()
            node.verify()
            node.stop()


for fault_name in FAULTS:
    for label, how_many in ("once", 0), ("for_a_while", FOREVER):
        setattr(Faults, f"test_{fault_name}_{label}", lambda self, n=fault_name, m=how_many: self.turn(n, m))

if __name__ == "__main__":
    unittest.main(verbosity=2)
