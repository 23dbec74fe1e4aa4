#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Services of one machine used from another: dials, allow-lists, ends and breaks."""
import os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        cls.lab = Lab(2).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.a = cls.lab.node(1, options=("--no-mount",))
        cls.b = cls.lab.node(2, options=("--no-mount",))
        cls.b.run("connect", cls.a.address())

    def offer(self, *args):
        self.a.run("offer", "-a", self.b.id, "--", *args)

    def dial(self, service, data=b"", timeout=60):
        return subprocess.run(self.lab.enter(2) + [P2P, "dial", f"{self.a.id}/{service}"], env=self.b.env, input=data,
                              capture_output=True, timeout=timeout)

    def test_dial_passes_each_end_on(self):
        self.offer("sum", "exec", "/usr/bin/sha256sum")
        p = self.dial("sum", b"hello")
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn(b"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", p.stdout)

    def test_who_is_not_allowed_is_told_no_more_than_of_nothing(self):
        self.a.run("offer", "secret", "echo")
        secret, nothing = self.dial("secret"), self.dial("nothing")
        self.assertEqual((secret.returncode, nothing.returncode), (6, 6))
        self.assertEqual(secret.stderr, nothing.stderr)
        self.a.run("offer", "secret", "-a", "any")
        self.assertEqual(self.dial("secret", b"x").stdout, b"x")
        self.a.run("offer", "secret", "-d", "any")
        self.assertEqual(self.dial("secret").returncode, 6)

    def test_a_peer_killed_mid_stream_is_no_end(self):
        self.offer("echo", "echo")
        p = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/echo"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
        os.write(p.stdin.fileno(), b"x")
        self.assertEqual(os.read(p.stdout.fileno(), 1), b"x")
        self.a.kill()
        self.assertEqual(p.wait(60), 4, "broken, not ended")
        self.a.start("--no-mount")
        wait_for("it is back", lambda: self.dial("echo", b"y").stdout == b"y")


if __name__ == "__main__":
    unittest.main(verbosity=2)
