#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A disk that rots under a node that peers fetch from: nobody gets a wrong byte, and whoever has the block mends it."""
import errno, os, pathlib, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, need, wait_for

CONFIG = "timeout-read = 3s\n"


def flip(node, content, at):
    """One bit of the byte `at` of `content`, wherever its first MiB lies in the node's store"""
    path = next(p for p in node.home.rglob("segment-*") if content[:1 << 20] in p.read_bytes())
    with open(path, "r+b") as f:
        place = f.read().index(content[:1 << 20]) + at
        f.seek(place)
        byte = f.read(1)[0]
        f.seek(place)
        f.write(bytes([byte ^ 0x20]))


class Rot(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()

    def test_a_rotten_block_does_not_leave_and_is_mended(self):
        with Lab(3) as lab:
            a = lab.node(1, config=CONFIG)
            content = os.urandom(1500000)
            path = a.mount / "share" / "file"
            path.write_bytes(content)
            cid = a.cid(path)
            a.stop()
            flip(a, content, 777777)
            a.start()
            b = lab.node(2, config=CONFIG)
            wait_for("they met", lambda: b.id in a.peers() and a.id in b.peers())
            with self.assertRaises(OSError) as caught:
                (b.mount / "ipfs" / cid).read_bytes()
            self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
            self.assertEqual(sum(p["blocks_wrong"] for p in b.json_lines("peers")), 0, "a did not send what it could not vouch for")
            self.assertIn("1 damaged block was found", a.json("status")["state"])
            with self.assertRaises(OSError) as caught:
                path.read_bytes()
            self.assertEqual(caught.exception.errno, errno.EBADMSG)
            p = a.run("cat", "share/file", check=False)
            self.assertEqual(p.returncode, 7, p.stderr)
            self.assertIn("damaged on the disk", p.stderr)

            c = lab.node(3, config=CONFIG)
            (c.mount / "share" / "same").write_bytes(content)
            wait_for("they met", lambda: c.id in a.peers())

            def mended():
                try:
                    return path.read_bytes()
                except OSError as e:
                    self.assertEqual(e.errno, errno.EBADMSG)  # its short deadline passed before c was asked
            self.assertEqual(wait_for("c has it", mended), content)
            self.assertEqual((b.mount / "ipfs" / cid).read_bytes(), content)
            a.run("verify")


if __name__ == "__main__":
    unittest.main(verbosity=2)
