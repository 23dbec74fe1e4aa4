# SPDX-License-Identifier: MIT
"""Names below .overlay with real programs: dig, getent through dnsmasq and unbound with the shipped lines, curl, ssh. Node 2 is `bob`
to node 1 and offers; node 1 asks. Each test has a mount namespace of its own for /etc/resolv.conf."""
import json, os, pathlib, shutil, socket, subprocess, sys, time, unittest

from clock import Clock
from lab import Lab, P2P, SOURCE, need, wait_for, write_pattern

CONTRIB = SOURCE / "contrib"
CONFIG = "mdns = off\n"


def petname(node, name, other):
    """What `ln -s ID peers/NAME` leaves, before the node starts."""
    state = node.home / "state"
    state.mkdir(exist_ok=True, mode=0o700)
    (state / "petnames").write_text(f"{name}\t{other.id}\n")


class Dns(unittest.TestCase):
    tools = ("dig",)

    @classmethod
    def setUpClass(cls):
        need(*cls.tools)

    def two(self, lab, connect=True, config="", env=None):
        """bob offers on node 2; node 1 knows him by name."""
        self.lab = lab
        self.b = lab.node(2, config=CONFIG, env=env)
        self.a = lab.node(1, start=False, config=CONFIG + config, env=env)
        petname(self.a, "bob", self.b)
        self.a.start()
        if connect:
            self.a.run("connect", self.b.address())
        return self.a, self.b

    def inside(self, *args, resolver=None, index=1, check=True, **kw):
        """Runs a program in node 1's network, with `resolver` as the system's resolver."""
        command = self.lab.enter(index)
        if resolver:
            file = self.lab.dir / "resolv.conf"
            file.write_text(f"nameserver {resolver}\noptions timeout:2 attempts:1\n")
            command += ["unshare", "-m", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh"]
        p = subprocess.run(command + [str(a) for a in args], capture_output=True, text=True, timeout=60, env=self.a.env, **kw)
        if check and p.returncode:
            raise AssertionError(f"{' '.join(map(str, args))}: exit {p.returncode}\n{p.stdout}{p.stderr}")
        return p

    def dig(self, *args):
        return self.inside("dig", "@127.0.0.1", "-p", "5354", "+tries=1", "+time=5", *args).stdout

    def short(self, *args):
        return self.dig("+short", *args).split("\n")[:-1]


class Records(Dns):
    def test_records(self):
        with Lab(2) as lab:
            a, b = self.two(lab, connect=False)
            ip = self.short("bob.overlay")
            self.assertRegex(ip[0], r"^127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.")
            for name in ("bob.overlay.alt", "BOB.Overlay", f"{b.id}.overlay", f"{b.id.lower()}.overlay"):
                self.assertEqual(self.short(name), ip, name)
                self.assertEqual(self.short("+tcp", name), ip, name)
            web = self.short("web.bob.overlay")
            self.assertNotEqual(web, ip)
            self.assertEqual(self.short("_web._tcp.bob.overlay", "SRV"), ["0 0 80 web.bob.overlay."])
            self.assertRegex(self.short("_odd._tcp.bob.overlay", "SRV")[0], r"^0 0 \d+ odd.bob.overlay\.$")
            self.assertEqual(self.short("_dns._udp.bob.overlay", "SRV"), ["0 0 53 dns.bob.overlay."])
            self.assertEqual(self.short("localhost.overlay"), ["127.0.0.1"])
            self.assertEqual(self.short(f"{a.id}.overlay"), ["127.0.0.1"])
            for name in ("bob.overlay", "_dnslink.bob.overlay", "_DNSLINK.BOB.overlay.alt"):
                for way in ("+notcp", "+tcp"):
                    self.assertRegex(self.short(way, name, "TXT")[0], r'^"dnslink=/ipns/k51[0-9a-z]{59}"$')
            self.assertEqual(self.short(self.short("bob.overlay", "TXT")[0].strip('"').split("/")[-1] + ".overlay"), ip, "a name, too")
            self.assertNotEqual(self.short("localhost.overlay", "TXT"), self.short("bob.overlay", "TXT"))
            self.assertEqual(self.short("_dnslink.localhost.overlay", "TXT"), self.short(f"{a.id}.overlay", "TXT"))
            for name, kind, status in (("bob.overlay", "AAAA", "NOERROR"), ("web.bob.overlay", "TXT", "NOERROR"),
                                       ("nobody.overlay", "A", "NXDOMAIN"), ("example.com", "A", "REFUSED"),
                                       ("overlay", "AXFR", "REFUSED")):
                for way in ("+notcp", "+tcp"):
                    if kind == "AXFR":
                        self.assertIn("Transfer failed", self.dig(name, kind))
                        continue
                    out = self.dig(way, name, kind)
                    self.assertIn(f"status: {status}", out)
                    self.assertIn("ANSWER: 0", out)
                    self.assertEqual("SOA" in out, status != "REFUSED", out)
            self.assertIn("status: BADVERS", self.dig("+edns=3", "+noednsneg", "bob.overlay"))
            a.stop()
            a.start()
            self.assertEqual(self.short("bob.overlay"), ip, "the address outlives the node")
            self.assertEqual(self.short("web.bob.overlay"), web)
            rows = {r["name"]: r for r in a.json_lines("dns")}
            self.assertEqual(rows["web.bob.overlay"]["address"], web[0])
            self.assertEqual(a.json("dns", "bob")["address"], ip[0])
            p = a.run("dns", "nobody", check=False)
            self.assertEqual(p.returncode, 3, p.stderr)
            os.symlink(b.id, a.mount / "peers" / "carol")  # another name for the same peer takes the old one's place
            self.assertEqual(self.short("carol.overlay"), ip)
            self.assertIn("NXDOMAIN", self.dig("bob.overlay"))

    def test_port_that_is_taken(self):
        with Lab(1) as lab:
            self.lab = lab
            other = lab.popen(1, [sys.executable, "-c", "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); "
                                  "s.bind(('127.0.0.1',5354)); print('bound',flush=True); sys.stdin.read()"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.assertEqual(other.stdout.readline(), b"bound\n")
            self.a = a = lab.node(1, config=CONFIG)
            self.assertIn("in use", a.json("status")["dns"])
            self.assertTrue(any(e["kind"] == "dns.down" for e in a.json_lines("events")), a.run("events").stdout)
            doctor = {r["check"]: r for r in a.json_lines("doctor", check=False)}
            self.assertEqual(doctor["dns"]["verdict"], "warning")
            other.stdin.close()
            other.wait(10)
            wait_for("the node has the port", lambda: a.json("status")["dns"] == "127.0.0.1:5354", 30)
            self.assertEqual(self.short("localhost.overlay"), ["127.0.0.1"])

    def test_off(self):
        with Lab(1) as lab:
            self.lab = lab
            self.a = lab.node(1, config=CONFIG + "dns-port = 0\n")
            self.assertEqual(self.a.json("status")["dns"], "off")
            with self.assertRaises(AssertionError):
                self.dig("localhost.overlay")


class Resolver(Dns):
    """A resolver with the shipped lines works, and `p2p doctor` sees it."""
    tools = ("dig", "getent", "unshare")

    def found(self, resolver):
        get = lambda name: self.inside("getent", "ahostsv4", name, resolver=resolver, check=False).stdout.split()[:1]
        ip = self.short("bob.overlay")
        wait_for("the resolver works", lambda: get("localhost.overlay") == ["127.0.0.1"])
        self.assertEqual(get("bob.overlay"), ip)
        self.assertEqual(get("BOB.overlay.alt"), ip)
        self.assertEqual(get("nobody.overlay"), [])
        mapped = self.inside("getent", "ahostsv6", "bob.overlay", resolver=resolver, check=False).stdout.split()[:1]
        self.assertEqual(mapped, [f"::ffff:{ip[0]}"], "who asks for IPv6 with AI_V4MAPPED has an address, as long as there is no AAAA")
        cid = json.loads(self.inside(P2P, "dns", self.b.id, "--json").stdout)["name"]
        self.assertEqual(get(cid), ip)
        self.assertEqual(self.doctor(resolver)["verdict"], "good")

    def doctor(self, resolver):
        out = self.inside(P2P, "doctor", "--json", resolver=resolver, check=False).stdout
        return {r["check"]: r for r in map(json.loads, out.splitlines())}["dns"]


class Resolvers(Resolver):
    def test_dnsmasq(self):
        need("dnsmasq")
        with Lab(2) as lab:
            self.two(lab, connect=False)
            row = self.doctor("127.0.0.1")
            self.assertEqual(row["verdict"], "warning")
            self.assertIn("p2p-dns", row["try"])
            self.assertIn("10.77.0.9", self.doctor("10.77.0.9")["finding"], "a resolver elsewhere is not asked")
            lab.popen(1, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
                          "--listen-address=127.0.0.1", "--bind-interfaces", "--stop-dns-rebind",
                          f"--conf-file={CONTRIB}/dns/dnsmasq.conf"], stderr=subprocess.DEVNULL)
            self.found("127.0.0.1")

    def test_unbound(self):
        need("unbound")
        with Lab(2) as lab:
            self.two(lab, connect=False)
            conf = lab.dir / "unbound.conf"
            conf.write_text(f"""
server:
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    interface: 127.0.0.1
    private-address: 127.0.0.0/8
    module-config: "iterator"
include: "{CONTRIB}/dns/unbound.conf"
""")
            lab.popen(1, ["unbound", "-d", "-c", conf], stderr=subprocess.DEVNULL)
            self.found("127.0.0.1")


SERVE = """
import http.server, os, sys
os.chdir(sys.argv[1])
class H(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H)
print(s.server_address[1], flush=True)
s.serve_forever()
"""

ECHO_UPPER = """
import socketserver
class H(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read().upper())
s = socketserver.ThreadingTCPServer(('127.0.0.1', 0), H)
print(s.server_address[1], flush=True)
s.serve_forever()
"""


RESET = (7, 56)  # curl's codes: a reset that comes at once is "could not connect"


class Programs(Dns):
    tools = ("dig", "curl", "unshare", "dnsmasq")

    def web(self):
        """A web server on bob's machine, and a resolver on ours. Returns the server's port there."""
        root = self.lab.dir / "www"
        root.mkdir()
        (root / "index.html").write_text("this is bob")
        write_pattern(root / "big", 32 << 20)
        self.resolver()
        return self.serve(SERVE, root)

    def serve(self, program, *args):
        p = self.lab.popen(2, [sys.executable, "-c", program, *args], stdout=subprocess.PIPE, text=True)
        return int(p.stdout.readline())

    def resolver(self):
        self.lab.popen(1, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
                           "--listen-address=127.0.0.1", "--bind-interfaces", f"--conf-file={CONTRIB}/dns/dnsmasq.conf"],
                       stderr=subprocess.DEVNULL)
        wait_for("the resolver works", lambda: self.inside("dig", "@127.0.0.1", "+short", "+tries=1", "localhost.overlay",
                                                           check=False).stdout == "127.0.0.1\n")

    def offer(self, name, port):
        self.b.run("offer", name, "tcp", port)
        self.b.run("offer", name, "--allow", self.a.id)
        wait_for("it is known", lambda: any(f"/x/{name}" in p["protocols"] for p in self.a.json_lines("peers")))

    def curl(self, url, *args, check=True):
        return self.inside("curl", "-sS", "--noproxy", "*", "--max-time", "30", *args, url, resolver="127.0.0.1", check=check)

    def test_curl(self):
        with Lab(2) as lab:
            a, b = self.two(lab)
            port = self.web()
            self.offer("web", port)
            for url in ("http://web.bob.overlay:8080/", "http://web.bob.overlay/", "http://WEB.Bob.overlay.alt:3000/",
                        "http://bob.overlay:8080/", "http://bob.overlay/", f"http://web.{b.id}.overlay:8080/"):
                self.assertEqual(self.curl(url).stdout, "this is bob", url)
            out = lab.dir / "got"
            self.curl("http://web.bob.overlay:8080/big", "-o", out)
            self.assertEqual(out.read_bytes(), (lab.dir / "www" / "big").read_bytes())
            row = next(r for r in a.json_lines("dns") if r["name"] == "web.bob.overlay")
            self.assertGreaterEqual(row["connections"], 4)
            # SRV: a service of no usual port
            self.offer("odd", port)
            _, _, srv, host = self.short("_odd._tcp.bob.overlay", "SRV")[0].split()
            self.assertEqual(self.curl(f"http://{host.rstrip('.')}:{srv}/").stdout, "this is bob")
            # what is not offered: nobody listens for the peer, and a service is reset
            self.assertEqual(self.curl("http://bob.overlay:5432/", check=False).returncode, 7)
            p = self.curl("http://nothing.bob.overlay:8080/", check=False)
            self.assertIn(p.returncode, RESET, p.stderr)
            self.assertEqual(self.curl("http://nobody.overlay:8080/", check=False).returncode, 6)
            # not allowed any longer
            b.run("offer", "web", "--deny", a.id)
            wait_for("it is known", lambda: not any("/x/web" in p["protocols"] for p in a.json_lines("peers")))
            self.assertNotEqual(self.curl("http://web.bob.overlay:8080/", check=False).returncode, 0)

    def test_peer_that_is_not_connected(self):
        """The connection to the port makes the one to the peer; nobody there is a reset, not a hang or an empty answer."""
        with Lab(2) as lab:
            a, b = self.two(lab)
            self.offer("web", self.web())
            a.run("disconnect", b.id)
            self.assertEqual(self.curl("http://bob.overlay:8080/").stdout, "this is bob")
            b.kill()
            begin = time.monotonic()
            p = self.curl("http://web.bob.overlay:8080/", check=False)
            self.assertIn(p.returncode, RESET, p.stderr)
            self.assertLess(time.monotonic() - begin, 25)
            b.start()
            a.run("connect", b.address())
            p = self.curl("http://web.bob.overlay:8080/", check=False)
            self.assertEqual(p.stdout, "this is bob", p.stderr + a.run("events").stdout + b.run("events").stdout + b.run("offer").stdout)

    def test_half_close(self):
        """Our end of file arrives there, and the answer that it causes arrives here."""
        with Lab(2) as lab:
            self.two(lab)
            self.resolver()
            self.offer("upper", self.serve(ECHO_UPPER))
            talk = ("import socket,sys; s=socket.create_connection(('upper.bob.overlay',8080)); s.sendall(b'abc'*100000); "
                    "s.shutdown(1); n=0\nwhile 1:\n d=s.recv(65536)\n if not d: break\n assert d.isupper(); n+=len(d)\nprint(n)")
            self.assertEqual(self.inside(sys.executable, "-c", talk, resolver="127.0.0.1").stdout, "300000\n")

    def test_many_at_once(self):
        with Lab(2) as lab:
            self.two(lab)
            self.offer("web", self.web())
            urls = [f"http://web.bob.overlay:8080/?{n}" for n in range(100)]
            p = self.curl(urls[0], "--parallel", "--parallel-immediate", "--parallel-max", "50", *urls[1:])
            self.assertEqual(p.stdout, "this is bob" * 100)

    def test_ssh(self):
        need("ssh", "sshd", "ssh-keygen")
        with Lab(2) as lab:
            a, b = self.two(lab)
            self.resolver()
            port = self.sshd()
            self.offer("ssh", port)
            ssh = ["ssh", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={lab.dir}/known", "-i", lab.dir / "key",
                   "-o", "StrictHostKeyChecking=accept-new"]
            env = dict(a.env, PATH=f"{pathlib.Path(P2P).parent}:{os.environ['PATH']}")
            lines = subprocess.run(lab.enter(1) + [*map(str, ssh), "-F", str(CONTRIB / "ssh_config"), "root@bob.overlay", "echo over; cat"],
                                   input="the lines\n", capture_output=True, text=True, timeout=60, env=env)
            self.assertEqual(lines.stdout, "over\nthe lines\n", lines.stderr)
            p = self.inside(*ssh, "-F", "/dev/null", "root@bob.overlay", "echo by; cat", resolver="127.0.0.1", input="the name\n")
            self.assertEqual(p.stdout, "by\nthe name\n", p.stderr)

    def sshd(self):
        """On bob's machine; the port."""
        d = self.lab.dir
        for name in ("key", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d / name], check=True)
        shutil.copy(d / "key.pub", d / "authorized")
        os.makedirs("/run/sshd", exist_ok=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]  # free in this namespace too, most likely; sshd cannot tell which it took
        (d / "sshd_config").write_text(f"ListenAddress 127.0.0.1:{port}\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized\n"
                                       "StrictModes no\nPermitRootLogin yes\nUsePAM no\nPidFile none\n")
        self.lab.popen(2, [shutil.which("sshd"), "-D", "-e", "-f", d / "sshd_config"], stderr=subprocess.DEVNULL)
        listens = lambda: f":{port} " in subprocess.run(self.lab.enter(2) + ["ss", "-tln"], capture_output=True, text=True).stdout
        wait_for("sshd listens", listens)
        return port


class Datagrams(Dns):
    """Services of datagrams by name, with a program that answers and one that counts."""
    tools = ("dig", "dnsmasq")

    def free_port(self, kind):
        """On bob's machine."""
        code = f"import socket; s=socket.socket(socket.AF_INET, socket.{kind}); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
        return int(subprocess.run(self.lab.enter(2) + [sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    def offer(self, name, *target):
        self.b.run("offer", name, *target)
        self.b.run("offer", name, "--allow", self.a.id)
        datagrams = "udp/" if target[0] == "udp" else ""
        wait_for("it is known", lambda: any(f"/x/{datagrams}{name}" in p["protocols"] for p in self.a.json_lines("peers")))

    def answerer(self):
        """A DNS server on bob's machine, as something that answers datagrams. Its port."""
        port = self.free_port("SOCK_DGRAM")
        self.lab.popen(2, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", f"--port={port}",
                           "--listen-address=127.0.0.1", "--bind-interfaces", "--address=/answer.test/192.0.2.7"], stderr=subprocess.DEVNULL)
        ask = lambda: subprocess.run(self.lab.enter(2) + ["dig", "@127.0.0.1", "-p", str(port), "+short", "+tries=1", "+time=1", "answer.test"],
                                     capture_output=True, text=True).stdout
        wait_for("it answers", lambda: ask() == "192.0.2.7\n")
        return port

    def ask(self, ip, port=53):
        return self.inside("dig", f"@{ip}", "-p", str(port), "+short", "+tries=3", "+time=5", "answer.test").stdout

    def flows(self):
        return [s for s in self.a.json_lines("streams") if s["local"].startswith("udp 127.")]

    def test_answers(self):
        with Lab(2) as lab:
            a, b = self.two(lab)
            port = self.answerer()
            self.offer("dns", "udp", port)
            ip, service = self.short("bob.overlay")[0], self.short("dns.bob.overlay")[0]
            self.assertEqual(self.ask(ip), "192.0.2.7\n")
            self.assertEqual(self.ask(service), "192.0.2.7\n")
            self.assertEqual(self.ask(service, 5060), "192.0.2.7\n", "every port leads there")
            rows = {r["name"]: r for r in a.json_lines("dns")}
            self.assertEqual(rows["bob.overlay"]["udp_ports"], [53], "of the peer those that lead somewhere")
            self.assertIn(53, rows["dns.bob.overlay"]["udp_ports"])
            self.assertEqual({(f["service"], f["local"]) for f in self.flows()},
                             {("dns", f"udp {ip}:53"), ("dns", f"udp {service}:53"), ("dns", f"udp {service}:5060")})
            wait_for("they are counted", lambda: next(r["connections"] for r in a.json_lines("dns") if r["service"]) >= 2)
            self.assertEqual(a.json_lines("forward"), [], "they are no forwards that somebody asked for")
            self.assertEqual(self.short("_dns._udp.bob.overlay", "SRV"), ["0 0 53 dns.bob.overlay."])
            # no usual port, and a name that is found in another case
            self.offer("Odd", "udp", port)
            _, _, srv, host = self.short("_odd._udp.bob.overlay", "SRV")[0].split()
            self.assertEqual(host, "odd.bob.overlay.")
            self.assertEqual(self.ask(self.short(host)[0], srv), "192.0.2.7\n")
            # what the port may mean is asked for in turn: the peer offers something else than when the socket was opened
            b.run("offer", "dns", "--remove")
            self.offer("udp-53", "udp", port)
            self.assertEqual(self.ask(ip), "192.0.2.7\n")
            # nobody is connected to the peer: the datagram does it
            a.run("disconnect", b.id)
            self.assertEqual(self.ask(ip), "192.0.2.7\n")

    def test_two_sources(self):
        """Each has a flow of its own, and its own answers."""
        with Lab(2) as lab:
            self.two(lab)
            echo = ("import socket\ns=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1',0)); print(s.getsockname()[1],flush=True)\n"
                    "while True:\n d, at = s.recvfrom(65536); s.sendto(str(at[1]).encode() + b' ' + d, at)")
            p = lab.popen(2, [sys.executable, "-c", echo], stdout=subprocess.PIPE, text=True)
            self.offer("game", "udp", p.stdout.readline().strip())
            talk = ("import socket,sys\nip=sys.argv[1]; seen=set()\n"
                    "for name in (b'one', b'two'):\n"
                    " s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((ip, 27015)); s.settimeout(20)\n"
                    " for i in range(3):\n  s.send(name); port, got = s.recv(100).split(); assert got == name; seen.add((port, name))\n"
                    "print(len(seen))")
            self.assertEqual(self.inside(sys.executable, "-c", talk, self.short("bob.overlay")[0]).stdout, "2\n")
            self.assertEqual(len(self.flows()), 2)

    def test_flows_end(self):
        """After a minute without datagrams; the socket goes with the lease, ten minutes after the last of them."""
        with Lab(2) as lab:
            clock = Clock(lab.dir / "clock")
            a, b = self.two(lab, env=clock.env)
            self.offer("dns", "udp", self.answerer())
            ip = self.short("bob.overlay")[0]
            self.assertEqual(self.ask(ip), "192.0.2.7\n")
            ping = lambda: a.run("ping", "-c1", "bob")
            clock.forward(20, ping)  # and what the pings take
            self.assertTrue(self.flows())
            clock.forward(60, ping)
            wait_for("the flow has ended", lambda: not self.flows())
            self.assertEqual(self.ask(ip), "192.0.2.7\n", "another one")
            both = lambda: self.flows() and a.json_lines("dns")[0]["connections"] >= 2  # dig asks again from another port
            wait_for("both are counted", both)  # flows(): else it would be told when the kernel's clock comes to that time
            self.assertEqual(a.json_lines("dns")[0]["udp_ports"], [53])
            clock.forward(700, lambda: None)
            wait_for("the sockets are closed", lambda: a.json_lines("dns")[0]["udp_ports"] == [])
            self.assertEqual(self.inside("ss", "-Huln", "src", ip).stdout, "")

    def test_iperf3(self):
        """Its control connection and its datagrams, both by the name."""
        need("iperf3")
        with Lab(2) as lab:
            self.two(lab)
            self.resolver()
            port = self.free_port("SOCK_STREAM")
            server = lab.popen(2, ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port), "--forceflush"], stdout=subprocess.PIPE, text=True)
            while "listening" not in server.stdout.readline():
                pass
            self.offer("iperf3", "tcp", port)
            self.offer("udp-5201", "udp", port)
            p = self.inside("iperf3", "-c", "bob.overlay", "-u", "-b", "10M", "-l", "1200", "-t", "2", "-J", resolver="127.0.0.1")
            sums = json.loads(p.stdout)["end"]["sum"]
            self.assertGreater(sums["packets"], 1000)
            self.assertLess(sums["lost_percent"], 50, p.stdout)  # those that are late on a busy machine are dropped

    resolver = Programs.resolver


class Unprivileged(Dns):
    def test_low_ports(self):
        """Without privileges: SRV and the higher ports work, and it is told that the lower ones do not."""
        need("setpriv")
        with Lab(2) as lab:
            a, b = self.two(lab)
            a.stop()
            for path in [a.home, *a.home.rglob("*")]:
                os.chown(path, 65534, 65534, follow_symlinks=False)
            os.chmod(lab.dir, 0o755)
            user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
            enter = lab.enter
            lab.enter = lambda index: enter(index) + (user if index == 1 else [])
            mask = os.umask(0)  # the socket on which it says that it is ready
            try:
                a.start("--no-mount")
            finally:
                os.umask(mask)
            row = a.json("dns", "web.bob.overlay")
            self.assertIn(80, row["denied"])
            self.assertIn(8080, row["ports"])
            doctor = {r["check"]: r for r in a.json_lines("doctor", check=False)}["dns-ports"]
            self.assertIn("1024", doctor["finding"])
            self.assertEqual(self.short("_web._tcp.bob.overlay", "SRV"), ["0 0 3000 web.bob.overlay."])
            self.assertRegex(self.short("_ssh._tcp.bob.overlay", "SRV")[0], r"^0 0 [1-9]\d{3,} ssh.bob.overlay\.$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
