#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Three nodes: who may dial what of alice (node 1), and that a stream between two others does not touch her."""
import os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, wait_for
from services import Services

MIB = 1 << 20


class Three(Services):
    nodes = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c = cls.lab.node(3)
        for n, other in ((cls.c, cls.a), (cls.b, cls.c)):
            n.run("connect", other.address())
        os.symlink(cls.c.id, cls.a.mount / "peers/carol")
        for n in (cls.b, cls.c):
            wait_for("they know each other", lambda: cls.a.id in n.peers() and n.id in cls.a.peers())

    def listed(self, node):
        names = os.listdir(node.mount / "peers" / self.a.id / "streams")
        self.assertEqual({n for n in names if n.endswith(".sock")}, {f"{n}.sock" for n in names if not n.endswith(".sock")})
        return {n for n in names if not n.endswith(".sock")}

    def may(self, node, service):
        """Whether it gets through: as a file, by command, by the socket. All three say the same."""
        path = node.mount / "peers" / self.a.id / "streams" / service
        try:
            fd = os.open(path, os.O_RDWR)
            os.write(fd, b"x")
            by_file = os.read(fd, 1) == b"x"
            os.close(fd)
        except PermissionError:
            by_file = False
        p = subprocess.run(self.lab.enter(node.index) + [P2P, "dial", f"{self.a.id}/{service}"], env=node.env, input=b"x", capture_output=True, timeout=30)
        self.assertEqual((p.returncode, p.stdout), (0, b"x") if by_file else (6, b""), p.stderr)
        return by_file

    def test_who_may(self):
        offers = self.a.mount / "streams/offer"
        for name, allow in (("petname", "carol"), ("id", self.c.id), ("all", "any"), ("nobody", None)):
            self.a.run("offer", name, "echo", *(("-a", allow) if allow else ()))
        wait_for("carol is told", lambda: self.listed(self.c) == {"petname", "id", "all"})
        wait_for("bob is told", lambda: self.listed(self.b) == {"all"})
        for name in ("petname", "id", "all", "nobody"):
            self.assertEqual(self.may(self.c, name), name != "nobody", name)
            self.assertEqual(self.may(self.b, name), name == "all", name)
        # a petname in a list means the peer that had it then
        os.unlink(self.a.mount / "peers/carol")
        os.symlink(self.b.id, self.a.mount / "peers/carol")
        self.assertTrue(self.may(self.c, "petname"))
        self.assertFalse(self.may(self.b, "petname"))
        os.unlink(self.a.mount / "peers/carol")
        os.symlink(self.c.id, self.a.mount / "peers/carol")
        # all of it outlives the node
        self.a.stop()
        self.a.start()
        for n in (self.b, self.c):
            n.run("connect", self.a.address())
        wait_for("carol is told again", lambda: self.listed(self.c) == {"petname", "id", "all"})
        wait_for("bob is told again", lambda: self.listed(self.b) == {"all"})
        self.assertFalse(self.may(self.b, "id"))
        # `any` beside names: taking it away leaves those who are named
        self.a.run("offer", "id", "-a", "any")
        self.assertTrue(self.may(self.b, "id"))
        (offers / "id/allow/any").unlink()
        self.assertFalse(self.may(self.b, "id"))
        self.assertTrue(self.may(self.c, "id"))
        (offers / "petname/allow/carol").unlink()
        wait_for("carol no longer sees it", lambda: "petname" not in self.listed(self.c))
        self.assertFalse(self.may(self.c, "petname"))

    def test_a_forward_is_for_this_machine(self):
        """Unless it is told to listen elsewhere: by --listen, and by an address in the ctl file."""
        self.a.run("offer", "hello", "exec", "/bin/echo", "hello")
        self.addCleanup((self.a.mount / "streams/offer/hello").rmdir)
        self.a.run("offer", "hello", "-a", self.b.id)
        script = ("import socket, sys\ntry: print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).recv(100).decode(), end='')\n"
                  "except ConnectionRefusedError: print('refused')\n")
        get = lambda index, ip, port: subprocess.run(self.lab.enter(index) + [sys.executable, "-c", script, ip, port], capture_output=True,
                                                     text=True, timeout=30).stdout
        port, there = self.free_port(2), self.lab.ip(2)
        for make, undo, reached in (
                (lambda: self.b.run("forward", "tcp", port, "alice/hello"), f"tcp {port}", "refused\n"),
                (lambda: self.b.run("forward", "tcp", port, "alice/hello", "-l", there), f"tcp {there}:{port}", "hello\n"),
                (lambda: (self.b.mount / "streams/forward/ctl").write_text(f"tcp {there}:{port} alice/hello"), f"tcp {there}:{port}", "hello\n")):
            make()
            self.assertEqual(get(3, there, port), reached, undo)
            self.assertEqual(get(2, "127.0.0.1" if reached == "refused\n" else there, port), "hello\n", undo)
            (self.b.mount / "streams/forward/ctl").write_text(f"remove {undo}")
            self.assertEqual(get(3, there, port), "refused\n", undo)

    def test_between_two_others(self):
        """bob's forward leads to carol; alice, connected to both, has none of its bytes and is not told of it."""
        data = self.lab.dir / "data"
        data.write_bytes(os.urandom(8 * MIB))
        self.c.run("offer", "-a", self.b.id, "--", "data", "file", data)
        port = self.free_port(2)
        self.b.run("forward", "tcp", port, f"{self.c.id}/data")
        self.assertNotIn("data", os.listdir(self.a.mount / "peers" / self.c.id / "streams"))

        def carried():
            return sum(p["bytes_in"] + p["bytes_out"] for p in self.a.json_lines("peers"))

        before = carried()
        script = ("import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 30)\n"
                  "while p := s.recv(65536): sys.stdout.buffer.write(p)\n")
        self.assertTrue(self.use(sys.executable, "-c", script, port) == data.read_bytes())
        self.assertLess(carried() - before, MIB // 8)
        self.assertEqual(self.a.json_lines("streams"), [])
        # the peer goes away and comes back
        self.c.stop()
        self.assertEqual(self.use(sys.executable, "-c", script, port, check=False), b"")
        self.c.start()
        wait_for("the forward works again", lambda: self.use(sys.executable, "-c", script, port, check=False) == data.read_bytes())


if __name__ == "__main__":
    unittest.main(verbosity=2)
