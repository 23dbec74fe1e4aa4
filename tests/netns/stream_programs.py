#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real programs over streams: curl, ssh, scp, rsync, iperf3, dig, psql, redis-cli, socat."""
import glob, hashlib, json, os, pathlib, pwd, shutil, signal, subprocess, sys, tempfile, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, wait_for, write_pattern
from services import Services

MIB = 1 << 20
WEB = """
import http.server, os, re, sys
class Ranges(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        f = open(os.path.join(sys.argv[1], os.path.basename(self.path)), "rb")
        size = os.fstat(f.fileno()).st_size
        m = re.fullmatch(r"bytes=(\\d+)-(\\d+)", self.headers.get("Range", ""))
        first, last = (int(m[1]), int(m[2])) if m else (0, size - 1)
        self.send_response(206 if m else 200)
        if m: self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        f.seek(first)
        left = last - first + 1
        while left: left -= self.wfile.write(f.read(min(left, 1 << 18)))
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges); print(s.server_port, flush=True); s.serve_forever()
"""
UDP_ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True)
while True: s.sendto(*s.recvfrom(65536))
"""


class Programs(Services):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.big = cls.lab.dir / "big"
        write_pattern(cls.big, 24 * MIB + 17)
        cls.sum = hashlib.sha256(cls.big.read_bytes()).hexdigest()

    def same(self, data):
        self.assertEqual(hashlib.sha256(data).hexdigest(), self.sum)

    # ---- HTTP ----

    def test_curl(self):
        self.need("curl")
        self.offer("web", "tcp", self.server(WEB, str(self.lab.dir)))
        url = f"http://127.0.0.1:{self.forward('tcp', 'web')}/big"
        self.same(self.use("curl", "-sS", "--fail", url))
        with open(self.big, "rb") as f:
            f.seek(2 * MIB + 5)
            part = f.read(3 * MIB)
        self.assertTrue(self.use("curl", "-sS", "--fail", "-r", f"{2 * MIB + 5}-{5 * MIB + 4}", url) == part)
        copies = [self.lab.dir / f"copy{i}" for i in range(4)]
        self.use("curl", "-sS", "--fail", "--parallel", *(arg for c in copies for arg in ("-o", c, url)))
        for c in copies:
            self.same(c.read_bytes())
        self.same(self.use("curl", "-sS", "--fail", "--unix-socket", os.readlink(self.alice / "web.sock"), "http://alice/big"))

    # ---- ssh ----

    def sshd(self):
        self.need("ssh", "sshd", "ssh-keygen")
        d = self.lab.dir
        if not (d / "sshd_config").exists():
            for name in ("host", "key"):
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d / name], check=True)
            shutil.copy(d / "key.pub", d / "authorized")
            os.makedirs("/run/sshd", exist_ok=True)
            port = self.free_port(1)
            (d / "sshd_config").write_text(f"ListenAddress 127.0.0.1:{port}\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized\n"
                                           f"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n")
            self.lab.popen(1, [shutil.which("sshd"), "-D", "-e", "-f", d / "sshd_config"], stderr=subprocess.DEVNULL)
            self.listens(port, "sshd")
            self.offer("ssh", "tcp", port)
        return ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={d}/known", "-o", "StrictHostKeyChecking=no",
                "-o", "LogLevel=ERROR", "-i", d / "key"]

    def ssh_all(self, options, host):
        """A command, a file each way, rsync."""
        out = self.use("ssh", *options, f"root@{host}", "cat; echo done", input=b"through ssh\n")
        self.assertEqual(out, b"through ssh\ndone\n")
        there = self.lab.dir / f"there-{host}"
        self.use("scp", *options, self.big, f"root@{host}:{there}")
        self.same(there.read_bytes())
        back = self.lab.dir / f"back-{host}"
        self.use("scp", *options, f"root@{host}:{there}", back)
        self.same(back.read_bytes())
        if not shutil.which("rsync"):
            return
        tree, copy = self.lab.dir / f"tree-{host}", self.lab.dir / f"copy-{host}"
        for i in range(40):
            (tree / f"d{i % 4}").mkdir(parents=True, exist_ok=True)
            (tree / f"d{i % 4}" / f"f{i}").write_bytes(os.urandom(1000 * i))
        (self.lab.dir / "rsh").write_text("#!/bin/sh\nexec ssh " + " ".join(f"'{o}'" for o in options) + ' "$@"\n')
        (self.lab.dir / "rsh").chmod(0o755)
        self.use("rsync", "-a", "-e", self.lab.dir / "rsh", f"{tree}/", f"root@{host}:{copy}/")
        subprocess.run(["diff", "-r", tree, copy], check=True)

    def test_ssh_by_dial(self):
        options = self.sshd() + ["-o", f"ProxyCommand={P2P} dial alice/ssh"]
        self.ssh_all(options, "alice")

    def test_ssh_by_socket(self):
        self.need("socat")
        options = self.sshd()
        wait_for("it is listed", lambda: "ssh.sock" in os.listdir(self.alice))
        options += ["-o", f"ProxyCommand=socat - UNIX-CONNECT:{self.alice}/ssh.sock"]
        self.assertEqual(self.use("ssh", *options, "root@alice", "cat; echo done", input=b"by socket\n"), b"by socket\ndone\n")

    def test_ssh_by_forward(self):
        options = self.sshd() + ["-o", f"Port={self.forward('tcp', 'ssh')}"]
        self.ssh_all(options, "127.0.0.1")  # a name would need /etc/hosts

    # ---- iperf3 ----

    def iperf(self, port, *options):
        """What iperf3 says at its end. It exits with 0 also when it failed; its server takes connections before it reads that
        the test before is over, and then is busy."""
        def attempt():
            result = json.loads(self.use("iperf3", "-J", "-c", "127.0.0.1", "-p", port, *options))
            if "server is busy" in result.get("error", ""):
                return None
            self.assertNotIn("error", result)
            return result["end"]

        return wait_for("iperf3's server has ended the test before", attempt)

    def test_iperf3(self):
        """TCP both ways and UDP, on one port for all of it as iperf3 wants it."""
        self.need("iperf3")
        port = self.free_port(1)
        self.lab.popen(1, ["iperf3", "-s", "-B", "127.0.0.1", "-p", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.listens(port, "iperf3")
        self.offer("iperf", "tcp", port)
        self.offer("iperf-udp", "udp", port)
        here = self.forward("tcp", "iperf")
        self.b.run("forward", "udp", here, "alice/iperf-udp")
        for options in (("-n", "64M"), ("-n", "64M", "-R"), ("-n", "32M", "-P", "4")):
            with self.subTest(options=options):
                result = self.iperf(here, *options)
                self.assertGreaterEqual(result["sum_sent"]["bytes"], int(options[1][:-1]) * MIB)
                self.assertGreater(result["sum_received"]["bytes"], MIB)  # it does not read what is under way at its end
        for options in ((), ("-R",)):
            with self.subTest(udp=options):
                result = self.iperf(here, "-u", "-b", "5M", "-t", "1", "-l", "1200", *options)
                self.assertGreater(result["sum"]["packets"], 400)
                self.assertLess(result["sum"]["lost_percent"], 50)  # datagrams that are late on a busy machine are dropped

    # ---- DNS ----

    def test_dig(self):
        self.need("dig", "dnsmasq")
        port = self.free_port(1)
        self.lab.popen(1, ["dnsmasq", "-k", "-C", "/dev/null", "-R", "-h", "-p", port, "-i", "lo", "-z", "-a", "127.0.0.1", "-x", "",
                           "--txt-record=long.example," + ",".join("x" * 200 for _ in range(10)), "--address=/name.example/192.0.2.9",
                           "--edns-packet-max=4096"], stderr=subprocess.DEVNULL)
        self.listens(port, "dnsmasq")
        self.offer("dns", "udp", port)
        self.offer("dns-tcp", "tcp", port)
        here = self.forward("udp", "dns")
        self.b.run("forward", "tcp", here, "alice/dns-tcp")
        dig = ("dig", "@127.0.0.1", "-p", here, "+tries=1", "+time=5", "+short")
        self.assertEqual(self.use(*dig, "name.example"), b"192.0.2.9\n")
        self.assertEqual(self.use(*dig, "+tcp", "name.example"), b"192.0.2.9\n")
        for way in ("+bufsize=4096", "+bufsize=512"):  # one large datagram; a small one that says: ask by TCP
            self.assertGreater(len(self.use(*dig, way, "long.example", "TXT")), 2000)
        for _ in range(50):  # each a flow of its own
            self.assertEqual(self.use(*dig, "name.example"), b"192.0.2.9\n")

    # ---- databases ----

    def postgres(self):
        """A server on node 1, as an unprivileged user, which it insists on: its port."""
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))  # Debian has only clients in PATH
        self.need("psql")
        if not programs:
            self.skipTest("needs a PostgreSQL server, which is not installed")
        d = pathlib.Path(tempfile.mkdtemp(prefix="p2p-pg-"))
        self.addCleanup(shutil.rmtree, d, ignore_errors=True)
        nobody = pwd.getpwnam("nobody")
        os.chown(d, nobody.pw_uid, nobody.pw_gid)
        port, user = self.free_port(1), {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": d}
        subprocess.run([programs[-1], "-D", d / "data", "-U", "reader", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8"], check=True,
                       capture_output=True, **user)
        setpriv = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]  # in the namespace: root enters it
        server = self.lab.popen(1, [*setpriv, pathlib.Path(programs[-1]).parent / "postgres", "-D", d / "data", "-h", "127.0.0.1", "-p", port, "-k", "",
                                    "-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap"], cwd=d, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        self.listens(port, "postgres")
        return port

    def test_psql(self):
        self.offer("pg", "tcp", self.postgres())
        here = self.forward("tcp", "pg")
        psql = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", here, "-U", "reader", "-d", "postgres")
        wait_for("it answers", lambda: self.use(*psql, "-c", "SELECT 1", check=False) == b"1\n")
        self.assertEqual(self.use(*psql, "-c", "SELECT sum(i) FROM generate_series(1, 100000) i"), b"5000050000\n")
        self.use(*psql, "-c", "CREATE TABLE t (n int, w text)")
        rows = b"".join(b"%d\tword %d\n" % (i, i) for i in range(50000))
        self.use(*psql, "-c", "COPY t FROM STDIN", input=rows)
        self.assertTrue(self.use(*psql, "-c", "COPY (SELECT * FROM t ORDER BY n) TO STDOUT") == rows, "a copy each way, of what it held")
        with subprocess.Popen(self.lab.enter(2) + [*psql, "-c", "SELECT pg_sleep(1000)"], env=self.b.env, stderr=subprocess.PIPE) as p:
            active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(1000)%' AND pid <> pg_backend_pid()"
            wait_for("it sleeps", lambda: self.use(*psql, "-c", active) == b"1\n")
            p.send_signal(signal.SIGINT)  # it cancels by a second connection, which names the first
            self.assertIn(b"canceling statement", p.communicate(timeout=30)[1])
        wait_for("all have gone", lambda: next(r["open"] for r in self.b.json_lines("forward") if r["service"] == "pg") == 0)

    def test_redis(self):
        self.need("redis-check-rdb", "redis-cli")
        server = self.lab.dir / "redis-server"  # one program, and the package redis-tools starts no service of the system's
        server.symlink_to(shutil.which("redis-check-rdb"))
        port = self.free_port(1)
        self.lab.popen(1, [server, "--port", port, "--save", "", "--dir", self.lab.dir], stdout=subprocess.DEVNULL)
        self.listens(port, "redis")
        self.offer("redis", "tcp", port)
        here = self.forward("tcp", "redis")
        for way in (("-p", here), ("-s", os.readlink(self.alice / "redis.sock"))):
            with self.subTest(way=way[0]):
                self.assertEqual(self.use("redis-cli", *way, "set", "k", "v"), b"OK\n")
                self.assertEqual(self.use("redis-cli", *way, "get", "k"), b"v\n")
                lines = b"".join(b"SET k%d %d\r\n" % (i, i) for i in range(20000))
                self.assertIn(b"errors: 0, replies: 20000", self.use("redis-cli", *way, "--pipe", input=lines))
        heard = self.lab.popen(2, ["redis-cli", "-p", here, "subscribe", "news"], stdout=subprocess.PIPE)
        with heard.stdout:
            while heard.stdout.readline() != b"news\n":
                pass
            wait_for("it is heard", lambda: self.use("redis-cli", "-p", here, "publish", "news", "hello") == b"1\n")
            self.assertEqual([heard.stdout.readline() for _ in range(4)][-1], b"hello\n")
            heard.kill()

    # ---- sockets ----

    def test_socat(self):
        self.need("socat")
        self.offer("echo", "echo")
        self.offer("udp-echo", "udp", self.server(UDP_ECHO))
        wait_for("both are listed", lambda: {"echo.sock", "udp-echo.sock"} <= set(os.listdir(self.alice)))
        data = os.urandom(MIB)
        sock = os.readlink(self.alice / "echo.sock")
        self.assertTrue(self.use("socat", "-", f"UNIX-CONNECT:{sock}", input=data) == data, "and the end comes through")
        sock = os.readlink(self.alice / "udp-echo.sock")
        self.assertEqual(self.use("socat", "-t", "2", "-", f"UNIX-CONNECT:{sock},type=5", input=b"a datagram"), b"a datagram")
        port = self.forward("tcp", "echo")
        self.assertTrue(self.use("socat", "-t", "20", "-", f"TCP:127.0.0.1:{port}", input=data) == data)
        port = self.forward("udp", "udp-echo")
        self.assertEqual(self.use("socat", "-t", "1", "-", f"UDP:127.0.0.1:{port}", input=b"flow"), b"flow")


if __name__ == "__main__":
    unittest.main(verbosity=2)
