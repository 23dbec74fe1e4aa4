#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where a node is mounted: places with other names than the kernel's, and what somebody else has mounted at its place since."""
import os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from solo import P2P, Solo, need


class Named(Solo):
    """A node that is told another name of its mount point."""

    def spawn(self, shim=False, *options):
        self.process = subprocess.Popen([P2P, "up", "--foreground", *options, self.name], env=self.env, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, cwd=self.home)


def mounted(place):
    """The types of what is mounted there, the oldest first"""
    with open("/proc/self/mountinfo") as f:
        rows = [line.split(" - ") for line in f]
    return [right.split()[0] for left, right in rows if left.split()[4] == str(place)]


class Places(unittest.TestCase):
    def setUp(self):
        need(shim=False)

    def lives(self, node):
        """It starts, ends, and starts again after a kill -9, which leaves a dead mount."""
        node.start()
        self.assertEqual(mounted(node.mount.resolve()), ["fuse.p2p"])
        node.stop()
        self.assertEqual(mounted(node.mount.resolve()), [])
        place = node.mount.resolve()
        node.start().kill()
        self.assertEqual(mounted(place), ["fuse.p2p"])
        node.start().stop()
        self.assertEqual(mounted(place), [])

    def test_names(self):
        for name in "./m", "m/.", "m/.//./", "x/../m":
            with self.subTest(name), Named() as node:
                (node.home / "x").mkdir()
                node.name = name
                self.lives(node)

    def test_symlinks(self):
        for target in "real", "one/two", "x/../real":
            with self.subTest(target), Named() as node:
                (node.home / "x").mkdir()
                node.mount.symlink_to(target)
                node.name = "m"
                self.lives(node)

    def test_another_node_in_its_place(self):
        """The mount of the first has no place any more, but a program that uses it."""
        with Solo() as first, Solo() as second:
            first.start()
            with open(first.share / "used", "wb") as f:
                f.write(b"x")
                f.flush()
                subprocess.run(["umount", "-l", first.mount], check=True)
                second.mount, second.share = first.mount, first.share
                second.start()
                first.stop()
            self.assertEqual(mounted(second.mount), ["fuse.p2p"])
            (second.share / "x").write_bytes(b"still there")
            second.stop()

    def test_two_at_once(self):
        """One of them is mounted, and the other says why it is not."""
        for _ in range(4):
            with Solo() as first, Solo() as second:
                first.mount.mkdir()
                second.mount, second.share = first.mount, first.share
                first.spawn()
                second.spawn()
                self.assertEqual(sorted((first.ready(), second.ready())), [False, True])
                self.assertEqual(mounted(first.mount), ["fuse.p2p"])
                lives, ended = (first, second) if first.process.poll() is None else (second, first)
                self.assertRegex(ended.tail(), "a node is mounted at|another node is being mounted at|is not empty")
                lives.stop()
                self.assertEqual(mounted(first.mount), [])

    @unittest.skipUnless(os.geteuid() == 0, "mounts")
    def test_something_on_top(self):
        for what in ["-t", "tmpfs", "none"], ["--bind", "/usr/share"]:
            with self.subTest(what), Solo() as node:
                node.start()
                subprocess.run(["mount", *what, node.mount], check=True)
                try:
                    node.stop()
                    self.assertEqual(len(mounted(node.mount)), 2)
                finally:
                    subprocess.run(["umount", node.mount], check=True)
                node.start().stop()
                self.assertEqual(mounted(node.mount), [])


if __name__ == "__main__":
    unittest.main()
