#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What peers have is read while our disk takes nothing, with the smallest budget: each block is used as it comes. Pieces across two big
blocks, by read(2) and of mappings, by one and by several at a time, who must not take the blocks from each other for ever."""
import errno, mmap, os, pathlib, random, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from lab import Loopback, need, write_pattern

CONFIG = "listen = /ip4/127.0.0.1/tcp/0\nmdns = no\ndns-port = 0\n"
MIB = 1 << 20
SIZE = 24 * MIB + 5000
PATIENCE = 60  # about a second when nothing else runs


def mapped(fd, data, places):
    with mmap.mmap(fd, len(data), mmap.MAP_SHARED, mmap.PROT_READ) as m:
        return all(m[at:at + 4096] == data[at:at + 4096] for at in places)


def anywhere(fd, data, rng):
    return mapped(fd, data, [rng.randrange(SIZE - 4096) for _ in range(40)])


def across(fd, data, rng):
    return mapped(fd, data, [rng.randrange(1, SIZE // MIB) * MIB - 2048 for _ in range(20)])


def whole(fd, data, rng):
    at = 0
    while at < SIZE:
        piece = os.pread(fd, MIB, at)
        if not piece or piece != data[at:at + len(piece)]:
            return False
        at += len(piece)
    return True


class FullReads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        solo.need()

    def read(self, node, kind, cid, data, seed):
        """The pid of a process that reads; it ends with 0 when all was right."""
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            fd = os.open(node.mount / "ipfs" / cid, os.O_RDONLY)
            status = 0 if kind(fd, data, random.Random(seed)) else 2
        finally:
            os._exit(status)

    def all_end(self, node, pids):
        end = time.monotonic() + PATIENCE
        while pids:
            for pid in list(pids):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self.assertEqual(status, 0)
                    pids.remove(pid)
            if time.monotonic() > end:
                text = (node.mount / ".p2p/waiting").read_text()
                for pid in pids:
                    os.kill(pid, 9)
                    os.waitpid(pid, 0)
                self.fail(f"they do not end:\n{text}")
            time.sleep(0.02)

    def test_reads(self):
        with Loopback(1) as lab:
            b = lab.node(2, config=CONFIG)
            disk = solo.Disk(lab.dir / "disk")
            shim = {"LD_PRELOAD": solo.SHIM, "DISK_SHIM": str(disk.path), "DISK_SHIM_ROOT": str(lab.dir / "node1/state"),
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}
            a = lab.node(1, config=CONFIG + "memory = 16M\n", env=shim)
            a.env = {k: v for k, v in a.env.items() if k not in shim}
            a.run("connect", b.address())
            files = []
            for i in range(6):
                path = b.mount / f"share/file{i}"
                write_pattern(path, SIZE, i)
                files.append((b.cid(path), path.read_bytes()))
            disk.arm(1, solo.FAIL, solo.WRITE | solo.SYNC, errno.ENOSPC, more=solo.FOREVER)
            for kinds in ([anywhere], [across], [whole], [anywhere, whole, across, anywhere, whole, across]):
                with self.subTest([k.__name__ for k in kinds]):
                    self.all_end(a, [self.read(a, kind, *files[i], i) for i, kind in enumerate(kinds)])
            disk.disarm()
            disk.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
