#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kubo 0.43 and our node fetch from each other; both give the same CIDs under unixfs-v1-2025."""
import filecmp, json, os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, need, wait_for, write_pattern

HERE = pathlib.Path(__file__).resolve().parent


def kubo_program():
    p = subprocess.run([HERE / "setup", "kubo"], capture_output=True, text=True)
    if p.returncode == 77:
        raise unittest.SkipTest(p.stderr.strip())
    p.check_returncode()
    return pathlib.Path(p.stdout.strip()) / "ipfs"


class Kubo:
    def __init__(self, lab, index, program, profile="unixfs-v1-2025", listen=None, more=()):
        self.lab, self.index, self.program = lab, index, program
        self.path = lab.dir / f"kubo{index}"
        self.env = dict(os.environ, IPFS_PATH=str(self.path), HOME=str(lab.dir), IPFS_TELEMETRY="off")
        self("init", "--empty-repo", "-p", f"test,{profile}")
        for key, value in (("Bootstrap", []), ("Addresses.Swarm", [listen or f"/ip4/{lab.ip(index)}/tcp/4001"]),
                           ("Discovery.MDNS.Enabled", False), ("Routing.Type", "none"), ("AutoConf.Enabled", False),
                           ("Provide.Enabled", False), ("Swarm.RelayClient.Enabled", False), ("AutoTLS.Enabled", False), *more):
            self("config", "--json", key, json.dumps(value))
        self.daemon = lab.popen(index, [program, "daemon"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.daemon.stdout:
            if "Daemon is ready" in line:
                break
        else:
            raise AssertionError("the Kubo daemon ended")

    def __call__(self, *args, check=True, timeout=120, **kw):
        p = subprocess.run(self.lab.enter(self.index) + [str(self.program), *map(str, args)], env=self.env, capture_output=True,
                           timeout=timeout, **kw)
        if check and p.returncode != 0:
            raise AssertionError(f"ipfs {args}: {p.stderr.decode()}")
        return p.stdout.decode(errors="surrogateescape")

    def add(self, path, *options):
        return self("add", "-Q", "-r", *options, path).split()[-1]


class KuboTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        program = kubo_program()
        cls.lab = Lab(2).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.ours = cls.lab.node(1)
        cls.kubo = Kubo(cls.lab, 2, program)
        cls.kubo("swarm", "connect", cls.ours.address())
        cls.tree = cls.lab.dir / "tree"
        (cls.tree / "deep" / "er").mkdir(parents=True)
        (cls.tree / "empty-dir").mkdir()
        (cls.tree / "empty").write_bytes(b"")
        (cls.tree / "one").write_bytes(b"1")
        (cls.tree / "odd \\ name\n\x01é").write_text("odd")
        (cls.tree / "deep" / "er" / "link").symlink_to("../../one")
        write_pattern(cls.tree / "deep" / "mebi", 1048576, 4)
        write_pattern(cls.tree / "deep" / "mebi-1", 1048575, 4)
        write_pattern(cls.tree / "deep" / "mebi+1", 1048577, 4)
        cls.big = cls.lab.dir / "big"
        write_pattern(cls.big, 50 * 1048576 + 3, 5)
        cls.many = cls.lab.dir / "many"
        cls.many.mkdir()
        for i in range(10000):
            (cls.many / f"file-{i}.txt").write_text(f"file {i}\n")

    def test_same_cids(self):
        for path in (self.big, self.tree, self.many):
            with self.subTest(path=path.name):
                self.assertEqual(self.ours.cid(path), self.kubo("add", "-Q", "-r", "-n", path).split()[-1])

    def test_kubo_fetches_a_file(self):
        cid = self.ours.run("add", self.big).stdout.split()[0]
        out = self.lab.dir / "kubo-big"
        self.kubo("get", "-o", out, cid)
        self.assertTrue(filecmp.cmp(out, self.big, shallow=False))

    def test_kubo_fetches_directories(self):
        subprocess.run(["cp", "-a", self.tree, self.many, self.ours.mount / "share"], check=True)
        for name, source in (("tree", self.tree), ("many", self.many)):
            with self.subTest(name=name):
                out = self.lab.dir / f"kubo-{name}"
                cid = self.ours.cid(self.ours.mount / "share" / name)
                # pin walks a DAG with many requests at once; get asks for one file after the other, 20 ms apart by Kubo's own delay
                self.kubo("pin", "add", cid)
                self.kubo("get", "-o", out, cid)
                subprocess.run(["diff", "-r", "--no-dereference", out, source], check=True)

    def test_our_mount_reads_from_kubo(self):
        write_pattern(self.lab.dir / "theirs", 30 * 1048576 + 1, 6)
        (self.tree / "from-kubo").write_text("only Kubo has this\n")
        (self.many / "from-kubo").write_text("only Kubo has this\n")
        self.addCleanup((self.many / "from-kubo").unlink)
        self.addCleanup((self.tree / "from-kubo").unlink)
        for options in ((), ("--cid-version=0", "--raw-leaves=false", "--chunker=size-262144"), ("--trickle",),
                        ("--raw-leaves=false", "--preserve-mode", "--preserve-mtime")):
            with self.subTest(options=options):
                cid = self.kubo.add(self.lab.dir / "theirs", *options)
                self.assertTrue(filecmp.cmp(self.ours.mount / "ipfs" / cid, self.lab.dir / "theirs", shallow=False))
        for source in (self.tree, self.many):
            with self.subTest(tree=source.name):
                cid = self.kubo.add(source)
                subprocess.run(["diff", "-r", "--no-dereference", self.ours.mount / "ipfs" / cid, source], check=True)

    def test_ping(self):
        self.assertIn("time=", self.kubo("ping", "-n", "1", self.ours.id))
        kubo_id = json.loads(self.kubo("id"))["ID"]
        self.ours.run("ping", kubo_id)
        self.assertIn(kubo_id, self.ours.peers())

    def test_kubo_reads_our_car(self):
        cid = self.ours.run("add", self.tree / "deep").stdout.split()[0]
        car = self.lab.dir / "ours.car"
        self.ours.run("export", cid, "-o", car)
        self.assertIn(cid, self.kubo("dag", "import", car))

    def test_we_read_kubos_car(self):
        source = self.lab.dir / "for-car"
        write_pattern(source, 2 * 1048576 + 9, 7)
        cid = self.kubo.add(source)
        car = self.lab.dir / "theirs.car"
        with open(car, "wb") as f:
            subprocess.run(self.lab.enter(2) + [str(self.kubo.program), "dag", "export", "-p=false", cid], env=self.kubo.env, stdout=f, check=True)
        self.assertIn(cid, self.ours.run("import", car).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
