#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files whose makers mean no good: that lie about their sizes, or are cut into single bytes. They may cost others no time, nor the end."""
import base64, errno, hashlib, os, pathlib, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from solo import P2P, Solo, need

SANITIZED = os.access(P2P, os.R_OK) and b"__asan_init" in pathlib.Path(P2P).read_bytes()
HICCUP = 2.5 if SANITIZED else 0.5  # of a busy machine
RAW, DAG_PB = 0x55, 0x70


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def cid(codec, block):
    return b"\x01" + varint(codec) + b"\x12\x20" + hashlib.sha256(block).digest()


def text(c):
    return "b" + base64.b32encode(c).decode().lower().rstrip("=")


class Dag:
    def __init__(self):
        self.blocks = {}

    def raw(self, data):
        return self.put(RAW, data)

    def put(self, codec, block):
        c = cid(codec, block)
        self.blocks[c] = block
        return c

    def file(self, *parts):
        """A node above (CID, what it claims to have)"""
        links = b"".join(field(2, field(1, c) + field(2, b"") + b"\x18" + varint(size)) for c, size in parts)
        sizes = b"\x18" + varint(sum(size for _, size in parts)) + b"".join(b"\x20" + varint(size) for _, size in parts)
        return self.put(DAG_PB, links + field(1, b"\x08\x02" + sizes))

    def folder(self, entries):
        links = b"".join(field(2, field(1, c) + field(2, name) + b"\x18\x01") for name, c in entries)
        return self.put(DAG_PB, links + field(1, b"\x08\x01"))

    def car(self, root):
        head = b"\xa2eroots\x81\xd8\x2a\x58" + bytes([len(root) + 1]) + b"\0" + root + b"gversion\x01"
        return varint(len(head)) + head + b"".join(varint(len(c) + len(b)) + c + b for c, b in self.blocks.items())


class Claims(unittest.TestCase):
    def setUp(self):
        need(shim=False)
        self.node = self.enterContext(Solo()).start()

    def bring(self, dag, root):
        (self.node.home / "x.car").write_bytes(dag.car(root))
        p = self.node.run("import", self.node.home / "x.car")
        self.assertEqual(p.returncode, 0, p.stderr)
        return self.node.mount / "ipfs" / text(root)

    def test_longer_than_any_file(self):
        dag = Dag()
        x = dag.raw(b"hello")
        there = self.bring(dag, dag.file((x, 5), (x, 1 << 62)))
        self.assertEqual(there.stat().st_size, 5 + (1 << 62))
        copy = self.node.share / "copy"
        with open(there, "rb") as a, open(copy, "wb") as b:
            with self.assertRaises(OSError) as e:
                os.copy_file_range(a.fileno(), b.fileno(), (1 << 63) - 1, 0, 0)
        self.assertEqual(e.exception.errno, errno.EFBIG)
        self.assertEqual(subprocess.run(["cp", there, copy], capture_output=True, timeout=60).returncode, 1)

    def others_wait(self, work):
        """How long somebody else waits at most while `work` is done, and how long that takes"""
        longest, begun = 0, time.monotonic()
        worker = threading.Thread(target=work)
        worker.start()
        while worker.is_alive():
            at = time.monotonic()
            os.statvfs(self.node.mount)
            longest = max(longest, time.monotonic() - at)
            worker.join(0.002)
        return longest, time.monotonic() - begun

    def test_folders_of_folders(self):
        """Each of a thousand entries has to be looked at, which is a block of forty thousand links."""
        dag = Dag()
        x = dag.raw(b"x")
        inner = dag.folder((b"%05d" % i, x) for i in range(40000))
        waits = []
        for turn in range(3):  # of a busy machine the best is judged
            names = ["%d.%05d" % (turn, i) for i in range(1000)]
            there, got = self.bring(dag, dag.folder((name.encode(), inner) for name in names)), []
            longest, _ = self.others_wait(lambda: got.extend(e.name for e in os.scandir(there)))
            self.assertEqual(sorted(got), names)
            waits.append(longest)
        self.assertLess(min(waits), HICCUP)  # all of them at once took 3 s

    def test_nodes_of_nothing(self):
        """Above each byte is a node of twenty thousand links to nothing."""
        dag = Dag()
        nothing = (dag.raw(b""), 0)
        inner = dag.file((dag.raw(b"x"), 1), *[nothing] * 20000)
        there = self.bring(dag, dag.file(*[(inner, 1)] * 20000))

        def look():
            fd = os.open(there, os.O_RDONLY | os.O_DIRECT)
            self.assertEqual(os.pread(fd, 20, 5), b"x" * 20)
            os.close(fd)
            os.getxattr(there, "user.p2p.local")
        longest, _ = self.others_wait(look)
        self.assertLess(longest, 5 * HICCUP)  # an open took 25 s

    def test_single_bytes(self):
        """A megabyte of a million blocks, of which a peer sends three: it is read and changed in steps."""
        dag = Dag()
        row = dag.file(*[(dag.raw(b"a"), 1)] * 1024)
        square = dag.file(*[(row, 1024)] * 1024)
        there = self.bring(dag, dag.file(*[(square, 1 << 20)] * 2))
        got = []
        longest, whole = self.others_wait(lambda: got.append(there.read_bytes()))
        self.assertEqual(got[0], b"a" * (2 << 20))
        self.assertLess(longest, whole / 4)
        copy = self.node.share / "copy"
        subprocess.run(["cp", there, copy], check=True, timeout=60)

        def write():
            with open(copy, "r+b", buffering=0) as f:
                f.write(b"x")
                f.seek(0)
                got.append(f.read(1 << 20))
                os.fsync(f.fileno())
        longest, whole = self.others_wait(write)
        self.assertLess(longest, whole / 4)
        self.assertEqual(got[1], b"x" + b"a" * ((1 << 20) - 1))
        self.assertEqual(copy.read_bytes(), b"x" + b"a" * ((2 << 20) - 1))

    def test_the_end_with_one_that_cannot_be_finished(self):
        """What it is cut from is not what it claims to be: no time makes that whole."""
        dag = Dag()
        x = dag.raw(b"hello")
        there = self.bring(dag, dag.file((x, 1), (x, 1)))
        copy = self.node.share / "copy"
        with open(there, "rb") as a, open(copy, "wb") as b:
            self.assertEqual(os.copy_file_range(a.fileno(), b.fileno(), 100, 0, 0), 2)
        os.truncate(copy, 1)
        with open(copy) as f, self.assertRaises(OSError) as e:
            os.fsync(f.fileno())
        self.assertEqual(e.exception.errno, errno.EBADMSG)
        (self.node.share / "good").write_bytes(b"x" * 3000000)
        begun = time.monotonic()
        self.node.stop()
        self.assertLess(time.monotonic() - begun, 20)  # it is half a minute for a disk that is slow
        log = (self.node.home / "log").read_text()
        self.assertLess(log.count("share.settle"), 4, log)
        self.node.start()
        self.assertEqual((self.node.share / "good").read_bytes(), b"x" * 3000000)


if __name__ == "__main__":
    unittest.main()
