#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Connecting to /dnsaddr/<domain>: TXT records from a real DNS server (dnsmasq) in the node's network namespace, where its resolv.conf
says so. What leads nowhere or in circles ends, with a sentence, in bounded time and with a bounded number of questions."""
import pathlib, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for

QUIET = "mdns = no\n"
OTHER = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"


class Resolving(Lab):
    """Node 1 has a resolv.conf of its own (so its mount is seen by nobody: these tests do not look at it)."""

    def enter(self, index):
        if index != 1:
            return super().enter(index)
        bind = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return super().enter(index) + ["unshare", "-m", "sh", "-c", bind, str(self.dir / "resolv.conf")]

    def resolver(self, records, *options):
        """Starts dnsmasq with these TXT records: domain → texts, without the prefixes."""
        (self.dir / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        self.asked = self.dir / "asked"
        lines = [f'txt-record=_dnsaddr.{domain},{",".join(chr(34) + t[i:i + 200] + chr(34) for i in range(0, len(t), 200))}'
                 for domain, texts in records.items() for t in texts]
        (self.dir / "dnsmasq.conf").write_text("\n".join(lines) + "\n")
        self.popen(1, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--log-queries",
                       f"--log-facility={self.asked}", "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/", *options,
                       "--host-record=host.example.test,10.77.0.2", f"--conf-file={self.dir / 'dnsmasq.conf'}"])
        wait_for("dnsmasq runs", lambda: self.asked.exists() and "started" in self.asked.read_text())

    def questions(self):
        return [line.split(" ")[-3] for line in self.asked.read_text().splitlines() if "query[TXT]" in line]


class Dnsaddr(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("dnsmasq", "unshare")

    def connected(self, a, b):
        return any(p["id"] == b.id and p["connected"] for p in a.json_lines("peers"))

    def test_resolves(self):
        with Resolving(2) as lab:
            b = lab.node(2, config=QUIET)
            address = b.address()
            port = address.split("/")[4]
            lab.resolver({
                "example.test": ["v=spf1 -all", f"dnsaddr=/dnsaddr/nested.example.test/p2p/{b.id}", f"dnsaddr=/ip4/10.77.0.9/tcp/1/p2p/{OTHER}"],
                "nested.example.test": [f"dnsaddr=/ip4/10.77.0.2/udp/4001/quic-v1/p2p/{b.id}", f"dnsaddr={address}"],
                "named.test": [f"dnsaddr=/dns4/host.example.test/tcp/{port}/p2p/{b.id}"],
                "other.test": [f"dnsaddr={address}"],
            })
            a = lab.node(1, config=QUIET)
            for text in (f"/dnsaddr/example.test/p2p/{b.id}", "/dnsaddr/nested.example.test", "/dnsaddr/named.test"):
                self.assertFalse(self.connected(a, b))
                a.run("connect", text)
                self.assertTrue(self.connected(a, b), text)
                a.run("disconnect", b.id)
                wait_for("disconnected", lambda: not self.connected(a, b))
            # records that name somebody else are not dialed for the one that was asked for
            asked = len(lab.questions())
            p = a.run("connect", f"/dnsaddr/other.test/p2p/{OTHER}", check=False)
            self.assertEqual(p.returncode, 4, p.stderr)
            self.assertIn("/dnsaddr/other.test", p.stderr)
            self.assertEqual(lab.questions()[asked:], ["_dnsaddr.other.test"])
            self.assertFalse(self.connected(a, b))

    def test_what_leads_nowhere(self):
        with Resolving(1) as lab:
            lab.resolver({
                "loop.test": ["dnsaddr=/dnsaddr/LOOP.test", "dnsaddr=/dnsaddr/loop2.test"],
                "loop2.test": ["dnsaddr=/dnsaddr/loop.test"],
                "broken.test": ["dnsaddr=", "dnsaddr=/ip4/300.1.1.1/tcp/1", "dnsaddr", "dnsaddr=/ip4/10.0.0.1/tcp/1/p2p/xyz"],
                **{f"n{i}.deep.test": [f"dnsaddr=/dnsaddr/n{i + 1}.deep.test"] for i in range(60)},
            })
            a = lab.node(1, config=QUIET)
            for domain, most in (("loop.test", 2), ("n0.deep.test", 32), ("broken.test", 1), ("absent.test", 1)):
                asked, start = len(lab.questions()), time.monotonic()
                p = a.run("connect", f"/dnsaddr/{domain}", check=False)
                self.assertEqual((p.returncode, p.stdout), (4, ""), p.stderr)
                self.assertIn(f"/dnsaddr/{domain}: does not exist", p.stderr)
                self.assertEqual(len(lab.questions()) - asked, most, domain)
                self.assertLess(time.monotonic() - start, 5)

    def test_nobody_answers(self):
        """A resolver that takes questions and says nothing: the call ends at its deadline."""
        with Resolving(1) as lab:
            (lab.dir / "resolv.conf").write_text("nameserver 127.0.0.1\n")
            lab.popen(1, [sys.executable, "-c", "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                          "s.bind(('127.0.0.1', 53))\nprint('bound', flush=True)\ntime.sleep(600)"], stdout=subprocess.PIPE)
            self.assertEqual(lab.processes[-1].stdout.readline(), b"bound\n")
            a = lab.node(1, config=QUIET)
            start = time.monotonic()
            p = a.run("connect", "/dnsaddr/silent.test", check=False)
            self.assertEqual(p.returncode, 5, p.stderr)
            self.assertIn("timed out", p.stderr)
            self.assertLess(time.monotonic() - start, 14)
            self.assertEqual(a.json("status")["id"], a.id, "the node goes on")

    def test_nobody_waits_for_a_name_that_nobody_tells(self):
        """Not who asks for another, and not the end of the node."""
        with Resolving(2) as lab:
            b = lab.node(2, config=QUIET)
            port = b.address().split("/")[4]
            lab.resolver({}, "--server=/silent/127.0.0.9")
            lab.popen(1, [sys.executable, "-c", "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                          "s.bind(('127.0.0.9', 53))\nprint('bound', flush=True)\ntime.sleep(600)"], stdout=subprocess.PIPE)
            self.assertEqual(lab.processes[-1].stdout.readline(), b"bound\n")
            a = lab.node(1, config=QUIET)
            for i in range(4):
                lab.popen(1, [P2P, "connect", f"/dns4/host{i}.silent/tcp/1"], env=a.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for("they are asked for", lambda: "host3.silent" in lab.asked.read_text())
            a.run("connect", f"/dns4/host.example.test/tcp/{port}")
            self.assertTrue(self.connected(a, b))
            start = time.monotonic()
            self.assertEqual(a.stop(60), 0)
            self.assertLess(time.monotonic() - start, 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
