#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Services that anybody may use. 24 peers that open 2,000 streams of one each, and say nothing. What all of them together may have is
bounded, by the budget and by the descriptors, so that there is memory and there are descriptors for whatever else the node does; and
somebody who comes with one stream gets it. One sends empty datagrams as fast as they go, and nobody waits for what it does."""
import concurrent.futures, os, pathlib, select, signal, socket, subprocess, sys, tempfile, time, unittest, unittest.mock

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib"), str(pathlib.Path(__file__).resolve().parent)]
import solo
from lab import wait_for
from swell import HOSTILE, MIB, SANITIZED, Watch

BUDGET, FILES = 32 * MIB, 1024
STREAMS = BUDGET // 2048 // 4  # net/host/host_raw.h


class Crowd(unittest.TestCase):
    def node(self, config=""):
        return self.enterContext(solo.Solo(solo.QUIET + config)).start()

    def attack(self, node, name):
        _, _, ip, _, port, *_ = node.status()["address"].split("/")
        hostile = subprocess.Popen([HOSTILE, "run", "--seconds", "600", "--from", "127.0.0.100", "--sources", "24", f"{ip}:{port}", name],
                                   stdout=subprocess.DEVNULL)
        self.addCleanup(hostile.wait)
        self.addCleanup(hostile.kill)

    def crowd(self, node, streams):
        """Opens streams until there are so many."""
        self.attack(node, "service-crowd")
        wait_for("there are many streams", lambda: node.status()["streams"] >= streams, 60)

    def talk(self, node):
        """Somebody else dials the service."""
        other = self.node()
        other.run("connect", node.status()["address"]).check_returncode()
        got = subprocess.run([solo.P2P, "dial", node.status()["id"], "echo"], env=other.env, input=b"hello", capture_output=True, timeout=60)
        self.assertEqual(got.stdout, b"hello", got.stderr)

    def setUp(self):
        solo.need(shim=False)
        if not os.access(HOSTILE, os.X_OK):
            self.skipTest("needs HOSTILE_BIN")

    def test_memory(self):
        node = self.node("memory = 32M\n")
        node.run("offer", "-a", "any", "--", "echo", "echo").check_returncode()
        watch = Watch(node, 0.02)
        self.crowd(node, STREAMS)
        self.talk(node)
        private = watch.end().private
        print(f"{node.status()['streams']} streams, private memory {private / 1e6:.1f} MB", file=sys.stderr)
        if not SANITIZED:
            self.assertLess(private, BUDGET)

    def test_readers_that_do_not_read(self):
        node = self.node("memory = 32M\n")
        (node.home / "file").write_bytes(bytes(3 * MIB))
        node.run("offer", "-a", "any", "--", "echo", "file", node.home / "file").check_returncode()
        watch = Watch(node, 0.02)
        self.attack(node, "service-deaf")
        wait_for("all are open", lambda: node.status()["streams"] == 24 * 100, 60)
        seen = []
        wait_for("it has read what it may", lambda: seen.append(node.status()["memory_used"]) or (len(seen) > 5 and len(set(seen[-5:])) == 1), 60)
        private = watch.end().private
        print(f"private memory of readers that do not read {private / 1e6:.1f} MB", file=sys.stderr)
        if not SANITIZED:
            self.assertLess(private, BUDGET)

    def test_descriptors(self):
        target = self.enterContext(socket.create_server(("127.0.0.1", 0), backlog=4096))
        few = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "p2p"
        few.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec "{solo.P2P}" "$@"\n')
        few.chmod(0o755)
        with unittest.mock.patch.object(solo, "P2P", str(few)):
            node = self.node()
        data = os.urandom(8 * MIB)
        (node.share / "big").write_bytes(data)
        node.run("offer", "-a", "any", "--", "echo", "tcp", f"127.0.0.1:{target.getsockname()[1]}").check_returncode()
        self.crowd(node, FILES // 4)
        for i in range(20):
            (node.share / f"{i}").write_bytes(data)
            self.assertEqual((node.share / f"{i}").read_bytes(), data)
        self.assertLess(len(os.listdir(f"/proc/{node.process.pid}/fd")), FILES - 100)

    def test_files_arrive_whole(self):
        """Many readers of a file by one connection, which takes nothing for a moment: all of them fill it."""
        data, count = os.urandom(3 * MIB), 100
        a, b = self.node(), self.node()
        (a.home / "file").write_bytes(data)
        a.run("offer", "-a", "any", "--", "f", "file", a.home / "file").check_returncode()
        b.run("connect", a.status()["address"]).check_returncode()
        readers = [self.enterContext(subprocess.Popen([solo.P2P, "dial", a.status()["id"], "f"], env=b.env, stdin=subprocess.DEVNULL,
                                                      stdout=subprocess.PIPE)) for _ in range(count)]
        begun = [r.stdout for r in readers]
        wait_for("they have begun", lambda: len(select.select(begun, [], [], 0)[0]) == count, 60)
        b.process.send_signal(signal.SIGSTOP)
        time.sleep(2)  # nothing else makes time pass for a process that is stopped
        b.process.send_signal(signal.SIGCONT)
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            got = list(pool.map(lambda r: (r.communicate(timeout=60)[0], r.returncode), readers))
        self.assertEqual(len([g for g, code in got if code == 0 and g != data]), 0, "ends like a whole one, and is none")
        self.assertGreater(len([g for g, code in got if code == 0]), 0)

    def test_empty_datagrams(self):
        target = self.enterContext(socket.socket(type=socket.SOCK_DGRAM))
        target.bind(("127.0.0.1", 0))
        node, other = self.node(), self.node()
        node.run("offer", "-a", "any", "--", "echo", "udp", f"127.0.0.1:{target.getsockname()[1]}").check_returncode()
        other.run("connect", node.status()["address"]).check_returncode()
        self.attack(node, "datagram-flood")
        wait_for("datagrams come", lambda: node.status()["bytes_in"] > MIB)
        pings = other.run("ping", "-c", "5", node.status()["id"])
        took = [float(line.split("\t")[1]) for line in pings.stdout.splitlines()]
        print(f"pings beside a flood of empty datagrams: {took}", file=sys.stderr)
        self.assertLess(min(took), 0.1)


if __name__ == "__main__":
    unittest.main()
