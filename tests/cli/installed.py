#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `cmake --install` puts down: it is whole, readable by the programs it is for, and the service manager's line starts a node that
is mounted when it says READY."""
import os, pathlib, pty, re, select, shlex, shutil, signal, socket, subprocess, tempfile, time, unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
P2P = pathlib.Path(os.environ.get("P2P_BIN", SOURCE / "build" / "release" / "p2p"))
FILES = """bin/p2p lib/systemd/user/p2p.service share/bash-completion/completions/p2p share/zsh/site-functions/_p2p
share/fish/vendor_completions.d/p2p.fish share/man/man1/p2p.1 share/man/man5/p2p.conf.5 share/man/man7/p2p-control.7
share/man/man7/p2p-dns.7 share/man/man7/p2p-mount.7 share/p2p/ssh_config share/p2p/dns/dnsmasq.conf share/p2p/dns/unbound.conf
share/p2p/dns/systemd-resolved.conf share/p2p/dns/p2p.dns-delegate""".split()


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not (P2P.parent / "cmake_install.cmake").exists():
            raise unittest.SkipTest(f"{P2P.parent} is no build folder")
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="p2p-installed-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        subprocess.run(["cmake", "--install", P2P.parent, "--prefix", "/usr"], env=dict(os.environ, DESTDIR=str(cls.dir)), check=True,
                       stdout=subprocess.DEVNULL)
        cls.usr = cls.dir / "usr"

    def test_files(self):
        there = {str(p.relative_to(self.usr)): p for p in self.usr.rglob("*") if not p.is_dir()}
        self.assertEqual(sorted(there), sorted(FILES))
        for name, path in there.items():
            self.assertEqual(path.stat().st_mode & 0o777, 0o755 if name == "bin/p2p" else 0o644, name)
            self.assertGreater(path.stat().st_size, 100, name)
        self.assertEqual([p.name for p in self.dir.iterdir()], ["usr"], "nothing outside the prefix")
        self.assertIn("p2p 0.", subprocess.run([self.usr / "bin/p2p", "version"], capture_output=True, text=True, check=True).stdout)

    def test_manual(self):
        for page in sorted(self.usr.glob("share/man/*/*")):
            p = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
            self.assertEqual((p.returncode, p.stdout + p.stderr), (0, ""))
            if shutil.which("man"):  # man -l: as a reader sees it
                p = subprocess.run(["man", "--warnings=w", "-l", page], capture_output=True, text=True, env=dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="80"))
                self.assertEqual((p.returncode, p.stderr), (0, ""), page)
                self.assertIn("NAME", p.stdout)

    def tables(self):
        """subcommand → its options, letters too, without ="""
        rows = subprocess.run([P2P, "completion", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
        commands = {}
        for command, option, _ in (row.split("\t") for row in rows):
            commands.setdefault(command, set()).update([option] if option else [])
        self.assertIn("--foreground", commands["up"])
        return commands

    def test_bash(self):
        script = f'. {self.usr}/share/bash-completion/completions/p2p; F=$(complete -p p2p | sed "s/.*-F \\([^ ]*\\).*/\\1/"); compopt() {{ :; }}\n' \
                 'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); $F; echo "${COMPREPLY[*]}"; }\n'
        commands = self.tables()
        asked = [["sta"], [""]] + [[c, "-"] for c in commands]
        out = subprocess.run(["bash", "-c", script + "".join(f"ask p2p {shlex.join(a)}\n" for a in asked)], capture_output=True, text=True, check=True)
        told = [sorted(l.split()) for l in out.stdout.splitlines()]
        self.assertEqual((told[:2], out.stderr), ([["stat", "status"], sorted(commands)], ""))
        self.assertEqual([{o.rstrip("=") for o in row} for row in told[2:]], list(commands.values()))

    def test_fish(self):
        if not shutil.which("fish"):
            self.skipTest("needs fish")
        commands = self.tables()
        asked = ["p2p sta", "p2p "] + [f"p2p {c} {dashes}" for c in commands for dashes in ("-", "--")]
        script = f"source {self.usr}/share/fish/vendor_completions.d/p2p.fish\n" + "".join(f"complete -C '{a}'; echo .\n" for a in asked)
        out = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True, cwd=self.dir)
        told = [{l.split("\t")[0] for l in part.splitlines() if l} for part in out.stdout.split(".\n")[:-1]]
        self.assertEqual((told[0], told[1] & set(commands), out.stderr), ({"stat", "status"}, set(commands), ""))
        for at, (command, options) in enumerate(commands.items()):
            self.assertEqual({o for o in told[2 + 2 * at] | told[3 + 2 * at] if o.startswith("-")}, options, command)

    def zsh(self, setup, *lines):
        """What an interactive zsh shows after a tab at the end of each line."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], dict(os.environ, TERM="dumb", COLUMNS="200", LINES="200", PATH=f"{P2P.parent}:{os.environ['PATH']}"))
        try:
            said = [b""]

            def until(pattern):
                end = time.monotonic() + 60
                while not re.search(pattern, said[0]):
                    self.assertTrue(select.select([fd], [], [], max(0, end - time.monotonic()))[0], f"{pattern}: {said[0]}")
                    said[0] += os.read(fd, 65536)
                told, said[0] = said[0], b""
                return told.decode(errors="replace")
            # a word that is not in what is typed, but in what is printed, tells that it is done
            os.write(fd, f"PS1=; {setup}; LISTMAX=1000; unsetopt beep list_ambiguous; done_() {{ zle -M 'wo''rd'; }}; "
                         "zle -N done_; bindkey '^X' done_; echo st''art\n".encode())
            until(b"start\r\n")
            told = []
            for line in lines:
                os.write(fd, line.encode() + b"\t\x18")
                told.append(until(b"word"))
                os.write(fd, b"\x15")  # the line is taken away
            return told
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)

    def test_zsh(self):
        """As a file of $fpath, and as it is sourced."""
        if not shutil.which("zsh"):
            self.skipTest("needs zsh")
        commands = self.tables()
        folder = self.usr / "share/zsh/site-functions"
        for setup in (f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D", "autoload -Uz compinit; compinit -u -D; source <(p2p completion zsh)"):
            first, letters, get, output = self.zsh(setup, "p2p ", "p2p get -", "p2p up --", f"p2p get --output={self.usr}/bi")
            for command in commands:
                self.assertRegex(first, rf"(?m)^{command} +-- \S", setup)
            for option in commands["get"]:
                self.assertRegex(letters, rf"(?m)(^|\s){option}\s.*-- \S", setup)
            for option in commands["up"]:
                if option.startswith("--"):
                    self.assertRegex(get, rf"(?m)^{option}\s.*-- \S", setup)
            self.assertIn(f"{self.usr}/bin/", output)

    def test_unit(self):
        """The line of the unit, with a service manager's socket: at the moment of READY the mount is there and answers."""
        unit = (self.usr / "lib/systemd/user/p2p.service").read_text()
        self.assertIn("Type=notify", unit)
        line = [shlex.split(l[len("ExecStart="):]) for l in unit.splitlines() if l.startswith("ExecStart=")][0]
        self.assertEqual(line[0], "/usr/bin/p2p")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            self.skipTest("needs /dev/fuse")
        home = self.dir / "home"
        (home / ".config/p2p").mkdir(parents=True)
        (home / ".config/p2p/config").write_text("listen = /ip4/127.0.0.1/tcp/0\nmdns = no\n")
        (home / "run").mkdir(mode=0o700)
        mount = home / "p2p"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("P2P_", "XDG_"))}
        env.update(HOME=str(home), XDG_RUNTIME_DIR=str(home / "run"), NOTIFY_SOCKET=str(home / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(str(home / "notify"))
            p = subprocess.Popen([self.usr / "bin/p2p", *line[1:]], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                self.assertTrue(select.select([s], [], [], 30)[0], "no word to the service manager")
                told = s.recv(4096)
                there = os.path.ismount(mount)
                self.assertIn(b"READY=1", told)
                self.assertTrue(there, "mounted before READY")
                self.assertIn("state\tworking", (mount / "status").read_text())
                self.assertTrue((home / "run/p2p").is_dir() and (home / ".local/share/p2p").is_dir(), list(home.rglob("*")))
                p.send_signal(signal.SIGHUP)  # ExecReload
                self.assertIn("state\tworking", (mount / "status").read_text())
                p.send_signal(signal.SIGTERM)
                self.assertIn(b"STOPPING=1", s.recv(4096))
                out, err = p.communicate(timeout=30)
                self.assertEqual((p.returncode, out), (0, b""), err)
                self.assertFalse(os.path.ismount(mount))
            finally:
                if p.poll() is None:
                    p.kill()
                    p.communicate()
                    subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main(verbosity=2)
