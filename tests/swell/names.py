#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A folder of many long names, and one of many symlinks, is published by a node with the smallest budget: the blocks that its CID stands
for are charged to it, wait for room and go on where they stopped, also while others change the tree; private memory does not exceed
the budget. Collections that run meanwhile take none of them away. By hand: P2P_TEST_NAMES=100000 for more of them, P2P_TEST_NAMES_MIB=32 for
another budget.
"""
import os, pathlib, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

NAMES = int(os.environ.get("P2P_TEST_NAMES", "30000"))
MIB = int(os.environ.get("P2P_TEST_NAMES_MIB", "16"))
LONG = "." * 220


def private(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("Anonymous:"))


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need(shim=False)
        if b"__asan_init" in pathlib.Path(solo.P2P).read_bytes():
            raise unittest.SkipTest("AddressSanitizer's memory says nothing")

    def background(self, work):
        """Runs work() again and again until the returned function is called, which gives what it gave."""
        results, stop = [], threading.Event()

        def run():
            while not stop.is_set():
                results.append(work())
        thread = threading.Thread(target=run)
        thread.start()

        def end():
            stop.set()
            thread.join()
            return results
        self.addCleanup(end)
        return end

    def test_publish(self):
        self.publish(lambda folder, i: (folder / f"{i:08} a name that is long {LONG}").write_bytes(b"tiny %d" % i))

    def test_symlinks(self):
        """Each is a block of its own, which nothing refers to until the shard that has it is stored."""
        self.publish(lambda folder, i: (folder / f"{i:08} a link").symlink_to(f"a target of some length {i}"))

    def publish(self, make):
        node = self.enterContext(solo.Solo(solo.QUIET + f"memory = {MIB}M\n")).start()
        folder, other = node.share / "names", node.share / "other"
        for f in folder, other:
            f.mkdir()
        peak = self.background(lambda: (private(node.process.pid), time.sleep(0.02))[0])
        for i in range(NAMES):
            make(folder, i)
        made = max(peak())
        peak = self.background(lambda: (private(node.process.pid), time.sleep(0.01))[0])
        collections = self.background(lambda: node.run("gc").returncode)
        changes = self.background(lambda: ((other / "changes").write_bytes(os.urandom(8)), time.sleep(0.01)))
        p = node.run("cid", "-q", folder, timeout=300)
        changes, collections, peak = len(changes()), collections(), max(peak())
        print(f"private memory: {made / 1e6:.1f} MB while made, {peak / 1e6:.1f} MB while published beside {changes} changes and "
              f"{len(collections)} collections", file=sys.stderr)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(set(collections), {0})
        self.assertLessEqual(max(made, peak), MIB << 20, "the budget")
        p = node.run("export", "-o", node.home / "car", p.stdout.split()[0], timeout=300)
        self.assertEqual(p.returncode, 0, f"all of it is there: {p.stderr}")
        node.verify()


if __name__ == "__main__":
    unittest.main(verbosity=2)
