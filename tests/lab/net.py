"""Hosts of the lab: network namespaces on one bridge, with their own addresses and names."""
import os
import shutil
import signal
import subprocess
import time

PREFIX = "pblab-"

# A name server in the foreground of its host.
NSD = """\
server:
  ip-address: {dns}
  username: root
  chroot: ""
  zonesdir: "{work}"
  database: ""
  xfrdfile: "{work}/xfrd.state"
  zonelistfile: "{work}/zone.list"
  pidfile: "{work}/nsd.pid"
remote-control:
  control-enable: no
"""


class Net:
    """One bridge in a namespace of its own; every host hangs on it. Removed on exit."""

    def __init__(self, work):
        self.work = work
        self.hosts = {}
        self.processes = []

    def __enter__(self):
        self._remove()
        ip("netns", "add", PREFIX + "wire")
        self.wire("link", "add", "br0", "type", "bridge")
        self.wire("link", "set", "br0", "up")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            stop(process)
        self._remove()

    def host(self, name, *addresses, resolver):
        """A host with these addresses (CIDR, both families) that asks this DNS server."""
        space = PREFIX + name
        ip("netns", "add", space)
        self.wire("link", "add", "to-" + name, "type", "veth", "peer", "name", "eth0", "netns", space)
        self.wire("link", "set", "to-" + name, "master", "br0", "up")
        host = Host(self, name, space)
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "link", "set", "eth0", "up")
        for address in addresses:
            host.add_address(address)
        os.makedirs(f"/etc/netns/{space}", exist_ok=True)
        with open(f"/etc/netns/{space}/resolv.conf", "w") as conf:
            conf.write(f"nameserver {resolver}\noptions timeout:2 attempts:1\n")
        self.hosts[name] = host
        return host

    def wire(self, *args):
        run("ip", "netns", "exec", PREFIX + "wire", "ip", *args)

    def _remove(self):
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        for line in listed.splitlines():
            space = line.split()[0]
            if space.startswith(PREFIX):
                ip("netns", "del", space)
                shutil.rmtree(f"/etc/netns/{space}", ignore_errors=True)


class Host:
    def __init__(self, net, name, space):
        self.net, self.name, self.space = net, name, space

    def add_address(self, address):
        family = ["-6"] if ":" in address else []
        # nodad: an IPv6 address is usable at once.
        self.run("ip", *family, "addr", "add", address, "dev", "eth0", *(["nodad"] if family else []))

    def del_address(self, address):
        self.run("ip", "addr", "del", address, "dev", "eth0")

    def command(self, *args):
        return ["ip", "netns", "exec", self.space, *args]

    def run(self, *args, **options):
        return run(*self.command(*args), **options)

    def start(self, *args, log):
        out = open(os.path.join(self.net.work, log), "ab")
        process = subprocess.Popen(self.command(*args), stdout=out, stderr=subprocess.STDOUT)
        self.net.processes.append(process)
        return process

    def kill(self, process, how=signal.SIGTERM):
        stop(process, how)
        if process in self.net.processes:
            self.net.processes.remove(process)

    def answers(self, address, port):
        """Whether something accepts a connection there, as seen from this host."""
        probe = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"
        return subprocess.run(
            self.command("python3", "-c", probe, address, str(port)), capture_output=True
        ).returncode == 0


def run(*args, check=True, **options):
    options.setdefault("capture_output", True)
    options.setdefault("text", True)
    result = subprocess.run([str(a) for a in args], **options)
    if check and result.returncode != 0:
        raise RuntimeError(f"{args}: exit {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def ip(*args):
    run("ip", *args)


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(what, condition, seconds=30):
    """Waits for a condition; what it is about is said when it does not come true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.2)
    raise AssertionError(f"after {seconds} s still not: {what}")
