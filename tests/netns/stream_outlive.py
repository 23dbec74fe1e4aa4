#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that outlive their streams: a peer that dials and breaks off, again and again, does not have more of them than the
offer's limit, or than are let live where it has none."""
import pathlib, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import wait_for
from services import Services

OUTLIVE_MOST = 32  # net/engine/engine_exec.c
DEAF = "trap '' HUP; echo here; exec sleep 1000"


class Outlive(Services):
    def programs(self):
        tasks = pathlib.Path(f"/proc/{self.a.process.pid}/task")
        return len([c for t in tasks.glob("*/children") for c in t.read_text().split()])

    def breaks_off(self, name):
        """Whether a program ran for it."""
        try:
            with open(self.alice / name, "r+b", buffering=0) as f:
                said = f.read(10)
                for row in self.b.json_lines("streams"):
                    self.b.run("streams", "--hangup", row["stream"], check=False)
                return said == b"here\n"
        except ConnectionResetError:
            return False

    def is_bounded(self, name, limit, most):
        self.offer(name, "exec", "/bin/sh", "-c", DEAF)
        self.a.run("offer", name, "-n", limit)
        ran = worst = 0
        for _ in range(most + 20):
            ran += self.breaks_off(name)
            worst = max(worst, self.programs())
        self.assertGreaterEqual(ran, most)
        self.assertLessEqual(worst, most)
        wait_for("all are waited for", lambda: not self.programs(), 20)
        self.assertTrue(self.breaks_off(name), "there is room again")
        self.a.run("offer", name, "-r")
        wait_for("it is waited for", lambda: not self.programs(), 20)

    def test_the_offer_has_a_limit(self):
        self.is_bounded("few", 2, 2)

    def test_it_has_none(self):
        self.is_bounded("many", 0, OUTLIVE_MOST)


if __name__ == "__main__":
    unittest.main()
