#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""offer, forward, dial and streams: what they refuse and with which status, what they list, what stays over a restart."""
import json, os, pathlib, signal, socket, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from command_line import P2P, Base, Home

NOBODY = "12D3KooWLi2pXdc7vbTXKpRktzUpNmvGrsw3Gc65y1krQf3TR5C5"  # a peer that is nowhere
LONG = "y" * 65

# command line (split at blanks), exit status, words of the sentence
REFUSED = (
    ("offer x", 2, "NAME KIND TARGET"), ("offer x nokind", 2, "'nokind' is not a kind", "echo"), ("offer x tcp", 2, "one target"),
    ("offer x tcp 99999", 2, "'99999'", "PORT"), ("offer x tcp 0", 2, "'0'"), ("offer x tcp -1", 2, "-1"), ("offer x tcp host:22", 2, "'host:22'"),
    ("offer x tcp 1 2", 2, "one target"), ("offer x udp", 2, "one target"), ("offer x exec", 2, "exec"), ("offer x unix rel", 2, "absolute"),
    ("offer x exec /nonexistent/program", 3, "/nonexistent/program"), ("offer x exec no-such-program", 3, "no program 'no-such-program'"),
    ("offer x exec /etc", 2, "folder"), ("offer x exec /etc/passwd", 6, "cannot be executed"), ("offer x file rel", 2, "absolute"), ("offer x echo more", 2, "no target"), ("offer x live more", 2, "no target"),
    ("offer .x echo", 2, "'.x'"), ("offer a/b echo", 2, "'a/b'"), (f"offer {LONG} echo", 2, LONG), ("offer x --wrong", 2, "--wrong"),
    ("offer -r", 2, "NAME"), ("offer have tcp 1 -r", 2, "a change"), ("offer have -a nobody", 2, "'nobody'"), ("offer have -d nobody", 2, "'nobody'"),
    ("offer have -n z", 2, "'z'"), ("offer have -n -1", 2, "'-1'"), ("offer have --rate z", 2, "'z'"), ("offer have --rate -1", 2, "'-1'"),
    ("offer gone -a any", 3, "'gone'"), ("offer gone -r", 3, "'gone'"), ("offer gone -n 1", 3, "'gone'"), ("offer gone --feed", 3, "'gone'"),
    ("offer have --feed", 3, "live"),
    ("forward tcp", 2, "KIND FROM"), ("forward tcp 1", 2, "KIND FROM"), ("forward tcp 1 x", 2, "PEER/SERVICE"), ("forward tcp 1 /x", 2, "PEER/SERVICE"),
    ("forward tcp 1 x/", 2, "PEER/SERVICE"), ("forward tcp 1 nobody/x", 2, "'nobody'"), (f"forward exec a {NOBODY}/x", 2, "'exec' is not a kind"),
    (f"forward tcp 0 {NOBODY}/x", 2, "'0'"), (f"forward tcp 99999 {NOBODY}/x", 2, "'99999'"), (f"forward unix rel {NOBODY}/x", 2, "absolute"),
    (f"forward tcp 1 {NOBODY}/.x", 2, "'.x'"), (f"forward tcp 1 {NOBODY}/x -l 192.0.2.1", 1, "192.0.2.1", "no such address"),
    (f"forward unix /nonexistent/s {NOBODY}/x", 3, "/nonexistent/s"), ("forward -r", 2, "KIND FROM"), ("forward -r tcp 1", 3, "no forward"),
    ("dial", 2, "PEER/SERVICE"), ("dial x", 2, "PEER/SERVICE"), ("dial a b c", 2, "'c'"), ("dial nobody/x", 2, "'nobody'"),
    (f"dial {NOBODY}/..x", 2, "'..x'"), (f"dial {NOBODY}/x", 4, "address"), (f"dial {NOBODY} x", 4, "address"),
    ("streams x", 2, "'x'"), ("streams --hangup 99", 3, "stream 99"), ("streams --hangup z", 2, "'z'"), ("streams --hangup", 2, "--hangup"),
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class WithoutNode(Base):
    def test_each_says_that_no_node_runs(self):
        h = Home(self)
        for args in (["offer"], ["offer", "x", "echo"], ["offer", "x", "--feed"], ["forward"], ["forward", "tcp", "1", f"{NOBODY}/x"],
                     ["dial", f"{NOBODY}/x"], ["streams"], ["streams", "-a"]):
            self.fails(h.run(*args), 9, "not running", "p2p up")


class Services(Base):
    def setUp(self):
        self.h = Home(self).up()

    def test_bad_input(self):
        self.h.ok("offer", "have", "echo")
        for line, status, *words in REFUSED:
            with self.subTest(line):
                self.fails(self.h.run(*line.split()), status, *words)
        self.assertEqual([o["name"] for o in self.h.lines("offer")], ["have"], "nothing of it was done")
        self.assertEqual(self.h.lines("forward"), [])

    def test_an_offer_changes_and_stays(self):
        h = self.h
        h.ok("offer", "s", "tcp", "22", "--allow", "any", "-a", NOBODY, "-n", "3", "--rate", "2k")
        want = {"name": "s", "target": "tcp 127.0.0.1:22", "connections_max": 3, "rate_max": 2048}
        for again in (False, True):
            if again:
                h.ok("down")
                h.up()
            row = h.lines("offer")[0]
            self.assertEqual({k: row[k] for k in want}, want)
            self.assertEqual(sorted(row["allowed"]), sorted(["any", NOBODY]))
        h.ok("offer", "s", "exec", "/bin/sh", "-c", "echo $1", "--", "-x y")
        row = h.lines("offer")[0]
        self.assertEqual((row["connections_max"], sorted(row["allowed"])), (3, sorted(["any", NOBODY])), "a new target keeps the rest")
        self.assertEqual(row["target"], 'exec /bin/sh -c "echo $1" -- "-x y"')
        h.ok("offer", "s", "-d", "any", "-d", NOBODY, "-n", "0", "--rate", "0")
        row = h.lines("offer")[0]
        self.assertEqual((row["allowed"], row["connections_max"], row["rate_max"]), ([], 0, 0))
        self.assertIn("nobody", h.ok("offer"))
        h.ok("offer", "s", "-r")
        self.assertEqual(h.lines("offer"), [])

    def test_a_forward_that_cannot_be_had(self):
        h, port = self.h, free_port()
        with socket.create_server(("127.0.0.1", port)):
            self.fails(h.run("forward", "tcp", port, f"{NOBODY}/x"), 1, str(port))
        h.ok("forward", "tcp", port, f"{NOBODY}/x")
        self.fails(h.run("forward", "tcp", port, f"{NOBODY}/y"), 1, "already")
        self.assertEqual([(f["from"], f["peer"], f["service"]) for f in h.lines("forward")], [(f"tcp 127.0.0.1:{port}", NOBODY, "x")])
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(20)
            self.assertRaises(ConnectionError, lambda: s.recv(1) or (_ for _ in ()).throw(AssertionError("an end, and no reset")))
        self.assertEqual(h.lines("forward")[0]["refused"], 1)
        h.ok("down")
        h.up()
        self.assertEqual(len(h.lines("forward")), 1, "it stays")
        h.ok("forward", "-r", "tcp", port)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port))

    def test_two_nodes(self):
        h, other = self.h, Home(self).up()
        status = json.loads(h.ok("status", "--json"))
        peer = status["id"]
        other.ok("connect", next(a for a in status["addresses"] if "/ip4/127.0.0.1/" in a) + ("" if "/p2p/" in status["addresses"][0] else f"/p2p/{peer}"))
        h.ok("offer", "echo", "echo")
        self.fails(other.run("dial", f"{peer}/echo"), 6, "allow")
        self.fails(other.run("dial", f"{peer}/nothing"), 6, "allow")
        h.ok("offer", "echo", "-a", "any")
        self.assertEqual(other.run("dial", f"{peer}/echo", stdin=b"x" * 300000).stdout, b"x" * 300000)
        p = subprocess.Popen([P2P, "dial", f"{peer}/echo"], env=other.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.write(p.stdin.fileno(), b"x")
        os.read(p.stdout.fileno(), 1)
        row = other.lines("streams")[0]
        self.assertEqual((row["peer"], row["service"], row["direction"], row["state"]), (peer, "echo", "out", "open"))
        h.ok("streams", "--hangup", h.lines("streams")[0]["stream"])
        self.fails(subprocess.CompletedProcess([], p.wait(10), b"", p.communicate()[1]), 4, "broke")
        p = subprocess.Popen([P2P, "dial", f"{peer}/echo"], env=other.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.write(p.stdin.fileno(), b"x")
        os.read(p.stdout.fileno(), 1)
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(5), 130)
        p.communicate()
        h.ok("offer", "cam", "live", "-a", "any")
        feed = subprocess.Popen([P2P, "offer", "cam", "--feed"], env=h.env, stdin=subprocess.PIPE)
        os.write(feed.stdin.fileno(), b"frame")
        viewer = subprocess.Popen([P2P, "dial", f"{peer}/cam"], env=other.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(os.read(viewer.stdout.fileno(), 5), b"frame")
        self.fails(h.run("offer", "cam", "--feed"), 1, "writer")
        feed.stdin.close()
        self.assertEqual((feed.wait(10), viewer.wait(10)), (0, 0))
        viewer.stdout.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
