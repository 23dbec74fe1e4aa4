#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Names below .overlay through systemd-resolved with the shipped lines."""
import os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import overlay_dns
from lab import Lab


class Resolved(overlay_dns.Resolver):
    def test_systemd_resolved(self):
        """With a /run of its own, and with its user, whom a machine without it does not have. No bus is needed."""
        root = pathlib.Path(os.environ.get("RESOLVED_ROOT", "/"))
        program = next((p for p in (root / "lib/systemd/systemd-resolved", root / "usr/lib/systemd/systemd-resolved") if p.exists()), None)
        if not program:
            self.skipTest("needs systemd-resolved, which is not installed, or RESOLVED_ROOT")
        with Lab(2) as lab:
            self.two(lab, connect=False)
            for name, line in (("passwd", "systemd-resolve:x:65533:65533::/:/bin/false\n"), ("group", "systemd-resolve:x:65533:\n")):
                text = pathlib.Path("/etc", name).read_text()
                (lab.dir / name).write_text(text if "systemd-resolve:" in text else text + line)
            script = ("mount --bind $0/passwd /etc/passwd; mount --bind $0/group /etc/group; mount -t tmpfs none /run; "
                      "mkdir -p /run/systemd/resolve /run/systemd/resolved.conf.d; chown systemd-resolve:systemd-resolve /run/systemd/resolve; "
                      'cp "$1" /run/systemd/resolved.conf.d/p2p.conf; exec "$2"')
            libraries = ":".join(str(p) for p in (root / "usr/lib").glob("*-linux-gnu/systemd"))
            lab.popen(1, ["unshare", "-m", "env", f"LD_LIBRARY_PATH={libraries}", "sh", "-ec", script, lab.dir,
                          overlay_dns.CONTRIB / "dns/systemd-resolved.conf", program], stderr=subprocess.DEVNULL)
            self.found("127.0.0.53")


if __name__ == "__main__":
    unittest.main(verbosity=2)
