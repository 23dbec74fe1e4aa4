#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A bit rots in what holds the pages of the index together (LMDB's file), of which LMDB believes everything: the next start finds it,
writes the index anew from what can be read, keeps the old one beside it, looks for what is missing, and says so. Files are whole."""
import os, pathlib, shutil, signal, struct, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

SMALL = 16 << 20  # bytes: what is looked at first (store/block/index_rebuild.h)
CONFIG = solo.QUIET + "dns-port = 0\nmemory = 16M\ntimeout-read = 1s\ntimeout-metadata = 1s\n"
BRANCH, LEAF = 1, 2
HEADER, NUMBER, FLAGS, LOWER, PLACES = 16, 0, 10, 12, 16  # where things are in a page
FILES = 400


class Index:
    """LMDB 0.9's layout, as store/block/index_pages.h tells it"""
    def __init__(self, data):
        self.data = bytearray(data)
        self.size = struct.unpack_from("<I", data, HEADER + 24)[0]
        newest = max(0, 1, key=lambda i: struct.unpack_from("<Q", data, i * self.size + HEADER + 128)[0])
        self.names = struct.unpack_from("<Q", data, newest * self.size + HEADER + 72 + 40)[0]
        self.tree_roots = [struct.unpack_from("<Q", data, at + 40)[0] for at in self.values(self.names)]

    def kind(self, page):
        number, = struct.unpack_from("<Q", self.data, page * self.size)
        return self.data[page * self.size + FLAGS] & 7 if number == page else 0

    def nodes(self, page):
        at = page * self.size
        count = (struct.unpack_from("<H", self.data, at + LOWER)[0] - HEADER) // 2
        return [at + place for place in struct.unpack_from(f"<{count}H", self.data, at + PLACES)]

    def values(self, page):
        return [node + 8 + struct.unpack_from("<H", self.data, node + 6)[0] for node in self.nodes(page)]

    def branches(self):
        """Roots that have children, and the first leaf of each"""
        for root in self.tree_roots:
            if root < 2**48 and self.kind(root) == BRANCH:
                node = self.nodes(root)[0]
                yield root, struct.unpack_from("<I", self.data, node)[0]

    def flipped(self, at, bit):
        data = bytearray(self.data)
        data[at] ^= 1 << bit
        return bytes(data)


class Rotten(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need(shim=False)

    def flips(self, index):
        page = lambda number, offset: number * index.size + offset
        yield "the page of names: its kind", index.flipped(page(index.names, FLAGS), 1)
        yield "the page of names: how much is in it", index.flipped(page(index.names, LOWER), 2)
        branches = list(index.branches())
        self.assertGreater(len(branches), 1)
        for root, child in branches:
            yield f"root {root}: its number", index.flipped(page(root, NUMBER), 3)
            yield f"root {root}: how much is in it", index.flipped(page(root, LOWER + 1), 5)
            yield f"root {root}: its first child", index.flipped(index.nodes(root)[0], 1)
            yield f"root {root}: its last child, far outside", index.flipped(index.nodes(root)[-1] + 3, 6)
            if index.kind(child) == LEAF:
                yield f"leaf {child}: its kind", index.flipped(page(child, FLAGS), 1)
                yield f"leaf {child}: how much is in it", index.flipped(page(child, LOWER), 6)

    def content(self, i):
        return (b"%06d" % i) * (i * i // 64 + 1) if i % 50 else bytes([i % 251]) * (100_000 + i)

    def fill(self, node):
        for i in range(FILES):
            folder = node.share / f"folder{i % 7}"
            folder.mkdir(exist_ok=True)
            (folder / f"a file of number {i}").write_bytes(self.content(i))
        for i in range(0, FILES, 10):  # something free
            (node.share / f"folder{i % 7}" / f"a file of number {i}").unlink()

    def whole(self, node):
        for i in range(FILES):
            path = node.share / f"folder{i % 7}" / f"a file of number {i}"
            if i % 10 == 0:
                self.assertFalse(path.exists(), path)
            else:
                self.assertEqual(path.read_bytes(), self.content(i), path)

    def test_a_bit(self):
        with solo.Solo(CONFIG) as node:
            blocks, copy = node.home / "state" / "blocks", node.home / "copy"
            node.start()
            self.fill(node)
            node.stop()
            shutil.copytree(blocks, copy)
            count = 0
            for what, data in self.flips(Index((copy / "data.mdb").read_bytes())):
                with self.subTest(what):
                    shutil.rmtree(blocks)
                    shutil.copytree(copy, blocks)
                    (blocks / "data.mdb").write_bytes(data)
                    seen = (node.home / "log").stat().st_size
                    node.kill()
                    node.start()
                    self.assertIn("written anew", node.status()["state"])
                    self.whole(node)
                    while b"problems=0" not in (node.home / "log").read_bytes()[seen:]:
                        time.sleep(0.01)
                    node.verify()
                    node.stop()
                    self.assertEqual((blocks / "data.mdb.damaged").read_bytes(), data)
                    node.start()
                    self.assertNotIn("written anew", node.status()["state"])
                    node.stop()
                    count += 1
            print(f"{count} bits: each start found it, all {FILES * 9 // 10} files whole")

    def test_a_large_one_is_looked_at_behind_the_start(self):
        with solo.Solo(CONFIG) as node:
            path = node.home / "state" / "blocks" / "data.mdb"
            node.start()
            self.fill(node)
            node.stop()
            index = Index(path.read_bytes())
            leaf = [child for _, child in index.branches() if index.kind(child) == LEAF][-1]
            path.write_bytes(index.flipped(leaf * index.size + NUMBER, 4))  # of which LMDB only knows when it writes there
            self.assertLess(path.stat().st_size, SMALL)
            os.truncate(path, SMALL + 1)
            node.start()
            while "the next start writes it anew" not in node.status()["state"]:
                time.sleep(0.01)
            node.stop()
            node.start()
            self.assertIn("written anew", node.status()["state"])
            self.whole(node)
            node.stop()

    def test_a_crash_leaves_a_mark(self):
        with solo.Solo(CONFIG) as node:
            mark = node.home / "state" / "blocks" / "suspect"
            for number in signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT:
                node.start()
                self.assertFalse(mark.exists())
                os.kill(node.process.pid, number)
                node.process.wait(30)
                self.assertTrue(mark.exists(), number)
            node.start()
            self.assertFalse(mark.exists())
            node.stop()


if __name__ == "__main__":
    unittest.main()
