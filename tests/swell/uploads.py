#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Uploads that stop in the middle, with a budget of 16 MiB: many imports with two MiB of an unfinished frame each take turns, so memory stays in
the budget and all of them end well. Who reads a slow pipe, or was stopped, keeps its upload for longer than a minute, but not when others wait for
a turn; the upload of a program that has ended goes."""
import hashlib, json, os, pathlib, subprocess, sys, threading, time, unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib"), str(pathlib.Path(__file__).resolve().parent)]
import solo
from clock import Clock
from swell import MIB, SANITIZED, Watch

BUDGET = 16 * MIB
IMPORTS = 24
ADDS = 3  # at once: each may keep a MiB, together a fifth of the budget
RAW_SHA256 = bytes.fromhex("01551220")
TURN = "waiting for other uploads to end"


def uvarint(n):
    out = b""
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def car(data):
    """A CAR of one block, which is its root."""
    cid = RAW_SHA256 + hashlib.sha256(data).digest()
    header = b"\xa2\x65roots\x81\xd8\x2a\x58" + bytes([len(cid) + 1, 0]) + cid + b"\x67version\x01"
    return uvarint(len(header)) + header + uvarint(len(cid) + len(data)) + cid + data


class Import(threading.Thread):
    def __init__(self, node, rest_may_come):
        super().__init__(daemon=True)
        self.node, self.rest_may_come = node, rest_may_come
        self.is_within, self.answer = False, None

    def post(self, target, body=None):
        status, answer = self.node.raw("POST", target, timeout=100, body=body)
        answer = json.loads(answer)
        assert status == 200, answer
        return answer

    def run(self):
        body = car(os.urandom(2 * MIB - 4096))
        upload = "/v1/import/" + self.post("/v1/import")["upload"]
        self.post(upload, body[:MIB])
        self.post(upload, body[MIB:-1])
        self.is_within = True
        self.rest_may_come.wait()
        self.post(upload, body[-1:])
        self.answer = self.post(upload + "/end")


class Uploads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need(shim=False)

    def setUp(self):
        self.node = self.enterContext(solo.Solo(solo.QUIET + "memory = 16M\n"))

    def waiting(self):
        return sum(row["why"] == TURN for row in self.node.rows("/v1/waiting"))

    def until(self, true):
        end = time.monotonic() + 60
        while not true():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_imports_take_turns(self):
        self.node.start()
        watch = Watch(self.node, 0.02)
        self.addCleanup(watch.end)
        go = threading.Event()
        imports = [Import(self.node, go) for _ in range(IMPORTS)]
        for i in imports:
            i.start()
        self.until(lambda: sum(i.is_within for i in imports) + self.waiting() == IMPORTS)
        if not SANITIZED:
            self.assertLess(watch.private, BUDGET)
        content = os.urandom(4 * MIB)
        (self.node.share / "beside").write_bytes(content)
        self.assertEqual((self.node.share / "beside").read_bytes(), content)
        go.set()
        for i in imports:
            i.join(60)
            self.assertTrue(i.answer and i.answer["blocks"] == 1, "all of them end")
        if not SANITIZED:
            self.assertLess(watch.end().private, BUDGET)

    def add(self):
        return "/v1/add/" + self.node.request("POST", "/v1/add")["upload"]

    def piece(self, upload, op="data"):
        return self.node.raw("POST", f"{upload}/{op}", body=b"a piece")[0]

    def test_idle_ones(self):
        clock = Clock(self.node.home / "clock")
        self.node.env.update(clock.env)
        self.node.start()
        pipe = subprocess.Popen([solo.P2P, "add", "-"], env={**os.environ, "P2P_HOME": str(self.node.home)}, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        self.addCleanup(pipe.kill)
        pipe.stdin.write(bytes(MIB))
        pipe.stdin.flush()
        gone = subprocess.check_output([sys.executable, "-c", "import solo, sys; n = solo.Solo.__new__(solo.Solo); n.home = sys.argv[1]; "
                                        "from pathlib import Path; n.home = Path(n.home); print(n.request('POST', '/v1/add')['upload'])",
                                        str(self.node.home)], text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        mine = [self.add()]
        self.assertEqual(self.piece(mine[0], "file"), 200)
        clock.forward(70, self.node.status)
        self.assertEqual(self.piece("/v1/add/" + gone.strip(), "file"), 404, "its program has ended")
        self.assertEqual(self.piece(mine[0]), 200, "nobody waits: it goes on after more than a minute")
        out, _ = pipe.communicate(b"the end", 30)
        self.assertIn(b"bafybei", out)

        mine += [self.add() for _ in range(ADDS - 1)]
        for upload in mine[1:]:
            self.assertEqual(self.piece(upload, "file"), 200)
        late = []
        waits = threading.Thread(target=lambda: late.append(self.add()), daemon=True)
        waits.start()
        self.until(lambda: self.waiting() == 1)
        for _ in range(7):
            clock.forward(10, self.node.status)
            self.assertEqual(self.piece(mine[0]), 200, "who uses it keeps it")
        waits.join(30)
        self.assertTrue(late, "one that was not used for a minute makes room")
        self.assertEqual(self.piece(late[0], "file"), 200)
        self.assertEqual([self.piece(u) for u in mine], [200, 404, 200], "and no more than that")


if __name__ == "__main__":
    unittest.main(verbosity=2)
