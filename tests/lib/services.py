# SPDX-License-Identifier: MIT
"""Services between two nodes: node 1, `alice` to node 2, offers; node 2 uses. For tests in tests/netns."""
import os, shutil, subprocess, sys, unittest

from lab import Lab, need, wait_for


class Services(unittest.TestCase):
    nodes = 2

    @classmethod
    def setUpClass(cls):
        need()
        cls.lab = Lab(cls.nodes).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.a, cls.b = cls.lab.node(1), cls.lab.node(2)
        cls.b.run("connect", cls.a.address())
        os.symlink(cls.a.id, cls.b.mount / "peers/alice")
        cls.alice = cls.b.mount / "peers/alice/streams"

    def need(self, *tools):
        for t in tools:
            if not shutil.which(t):
                self.skipTest(f"needs {t}, which is not installed")

    def offer(self, *args):
        self.a.run("offer", "-a", self.b.id, "--", *args)

    def free_port(self, index, kind="STREAM"):
        script = f"import socket; s = socket.socket(type=socket.SOCK_{kind}); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
        return subprocess.run(self.lab.enter(index) + [sys.executable, "-c", script], capture_output=True, text=True,
                              check=True).stdout.strip()

    def forward(self, kind, service):
        """A port of node 2 that leads to alice's service."""
        port = self.free_port(2, "DGRAM" if kind == "udp" else "STREAM")
        self.b.run("forward", kind, port, f"alice/{service}")
        return port

    def server(self, script, *args):
        """A Python program on node 1 that prints the port it listens on."""
        p = self.lab.popen(1, [sys.executable, "-c", script, *args], stdout=subprocess.PIPE, text=True)
        with p.stdout:
            return p.stdout.readline().strip()

    def listens(self, port, what):
        probe = "import socket,sys; s = socket.socket(); s.settimeout(5); sys.exit(s.connect_ex(('127.0.0.1', int(sys.argv[1]))))"
        wait_for(f"{what} listens", lambda: subprocess.run(self.lab.enter(1) + [sys.executable, "-c", probe, port]).returncode == 0)

    def use(self, *args, check=True, timeout=60, **kw):
        """A program on node 2; what it printed."""
        p = subprocess.run(self.lab.enter(2) + [*map(str, args)], env=self.b.env, capture_output=True, timeout=timeout, **kw)
        if check and p.returncode:
            raise AssertionError(f"{' '.join(map(str, args))}: exit {p.returncode}\n{p.stderr.decode()}")
        return p.stdout
