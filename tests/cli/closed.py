#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Standard input, output and error that are closed: no socket or file of the program takes their place."""
import pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from command_line import P2P, Base, Home


class Closed(Base):
    def closed(self, h, which, *args):
        return subprocess.run(["sh", "-c", f'exec "$0" "$@" {which}', P2P, *args], env=h.env, capture_output=True, timeout=30,
                              stdin=subprocess.DEVNULL)

    def test_input(self):
        h = Home(self).up()
        self.fails(self.closed(h, "<&-", "add", "-"), 1, "cannot read")

    def test_output(self):
        h = Home(self).up()
        self.fails(self.closed(h, ">&-", "status"), 1, "cannot write")

    def test_a_node_with_none(self):
        h = Home(self)
        self.assertEqual(self.closed(h, "<&- >&- 2>&-", "up", "--no-mount").returncode, 0)
        self.assertNotIn(b"is up", (h.dir / "state" / "lock").read_bytes())
        h.ok("status")
        h.ok("add", "-", stdin=b"x")


if __name__ == "__main__":
    unittest.main()
