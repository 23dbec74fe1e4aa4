#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""share/ under random operations (tests/mount/m_fsx.c, tree_fuzz.c) while a peer fetches whatever state of it there is and both nodes
collect: nothing that is referred to goes, the peer never reads a wrong thing, and in the end it has all of the tree.

BUSY_OPS: operations of each checker in a round, BUSY_ROUNDS, BUSY_SEED. After a round the node is restarted and the trees are compared."""
import errno, os, pathlib, shutil, subprocess, sys, tempfile, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, P2P, need, wait_for

CHECKERS = pathlib.Path(P2P).parent / "mount"
OPS = int(os.environ.get("BUSY_OPS", "15000"))
ROUNDS = int(os.environ.get("BUSY_ROUNDS", "1"))
SEED = int(os.environ.get("BUSY_SEED", str(time.time_ns() % 10**9)))
TMPFS = pathlib.Path("/dev/shm")
# What the tree let go of meanwhile and a collection took: nobody has it
GONE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def read_all(path):
    """The number of bytes below `path`; symlinks are not followed."""
    total = 0
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            total += read_all(entry.path)
        elif entry.is_file(follow_symlinks=False):
            with open(entry.path, "rb") as f:
                total += len(f.read())
        else:
            total += len(os.readlink(entry.path))
    return total


class Busy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        if not os.path.ismount(TMPFS):
            raise unittest.SkipTest("needs a tmpfs at /dev/shm")

    def start(self, node, reference, seed):
        share = node.mount / "share" / "trees"
        share.mkdir(exist_ok=True)
        shutil.rmtree(node.mount / "share" / "m_fsx", ignore_errors=True)
        env = dict(os.environ, FSX_SEED=str(seed), FSX_OPS=str(OPS))
        with open(node.home / "checkers", "wb") as log:
            return [subprocess.Popen([CHECKERS / "tree_fuzz", share, reference, str(seed), str(OPS)], stdout=log, stderr=log),
                    subprocess.Popen([CHECKERS / "m_fsx", node.mount], stdout=log, stderr=log, env=env)]

    def judge(self, node, processes, seed):
        for p in processes:
            if p.wait(30) != 0:
                text = (node.home / "checkers").read_text(errors="replace")
                self.fail(f"BUSY_SEED={seed} BUSY_OPS={OPS}\n{text[-6000:]}\n{node.tail()}")

    def disturb(self, a, b, processes):
        """Fetches and collects until the checkers have ended: (states fetched whole, collections)."""
        whole = collections = 0
        while any(p.poll() is None for p in processes):
            cid = a.cid(a.mount / "share" / ("trees" if whole % 2 else ""))
            try:
                read_all(b.mount / "ipfs" / cid)
                whole += 1
            except OSError as e:
                self.assertIn(e.errno, GONE, f"{e}, {a.tail()}")
            a.run("gc")
            b.run("gc")
            collections += 2
        return whole, collections

    def counts_are_right(self, *nodes):
        for node in nodes:
            told = [line for line in (node.home / "log").read_text(errors="replace").splitlines() if "store.count" in line]
            self.assertEqual(told, [], f"node {node.index}")

    def test_a_peer_fetches_and_both_collect(self):
        reference = tempfile.mkdtemp(prefix="p2p-busy-", dir=TMPFS)
        self.addCleanup(shutil.rmtree, reference, ignore_errors=True)
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2, config="timeout-read = 1s\ntimeout-metadata = 1s\n")
            wait_for("they met", lambda: b.id in a.peers() and a.id in b.peers())
            for seed in range(SEED, SEED + ROUNDS):
                processes = self.start(a, reference, seed)
                whole, collections = self.disturb(a, b, processes)
                self.judge(a, processes, seed)
                self.counts_are_right(a, b)
                print(f"seed {seed}: {whole} states fetched whole, {collections} collections")
                a.run("gc")
                share = a.mount / "share"
                cid = a.cid(share)
                self.assertEqual(read_all(b.mount / "ipfs" / cid), read_all(a.mount / "ipfs" / cid))
                self.assertIn('"problems":0', a.run("verify", "--json").stdout.replace(" ", ""))
                a.stop()
                a.start()
                subprocess.run([CHECKERS / "tree_fuzz", share / "trees", reference, "0", "0"], check=True)
                wait_for("they met again", lambda: b.id in a.peers() and a.id in b.peers())


if __name__ == "__main__":
    unittest.main(verbosity=2)
