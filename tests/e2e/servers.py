# SPDX-License-Identifier: Apache-2.0
"""Real servers on the backends: each says its own name."""
import json
import os

from world import run, until

# start = $msec - $connection_time: when the server accepted the connection.
NGINX = """daemon off; worker_processes 1; user root; pid {dir}/{name}.pid; error_log {dir}/{name}-nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  log_format flow '{name} $remote_addr $remote_port $connection_requests $msec $connection_time $status $uri';
  access_log {dir}/{name}-access.log flow;
  keepalive_timeout 600; keepalive_requests 100000000; sendfile on; tcp_nodelay on; reset_timedout_connection off;
  client_body_temp_path {dir}/{name}-tmp; proxy_temp_path {dir}/{name}-tmp; fastcgi_temp_path {dir}/{name}-tmp;
  uwsgi_temp_path {dir}/{name}-tmp; scgi_temp_path {dir}/{name}-tmp;
  server {{
    listen 80 backlog=4096; listen [::]:80 ipv6only=on backlog=4096; listen 8080 backlog=4096;
    default_type text/plain;
    location = /name {{ return 200 "{name}\\n"; }}
    location = /short {{ keepalive_requests 200; return 200 "{name}\\n"; }}
    location = /close {{ keepalive_timeout 0; return 200 "{name}\\n"; }}
    location = /big {{ root {dir}/files; limit_rate {rate}; }}
    location = /healthz {{ if (-f {dir}/{name}-sick) {{ return 503; }} return 200 "well\\n"; }}
    location = /work {{ reset_timedout_connection on; if (-f {dir}/{name}-broken) {{ return 444; }} return 200 "{name}\\n"; }}
  }}
  {more}
}}
"""
TLS = """server {{
    listen 8443 ssl; ssl_certificate {dir}/tls.crt; ssl_certificate_key {dir}/tls.key;
    location = /healthz {{ if (-f {dir}/{name}-sick) {{ return 503; }} return 200 "$ssl_server_name\\n"; }}
  }}"""


def nginx(at, rate="512k", big=0, names=None, tls=False):
    """nginx on ports 80 and 8080 of every backend, or of those of `names`: /name (keep-alive), /short (200 requests a
    connection), /close, /big (slow), /work (RST instead of an answer while broken(name)), /healthz (503 while
    sick(name)); with `tls` also on 8443. -> processes by name"""
    world = at.world
    processes = {}
    if tls:
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2,
            "-subj", "/CN=shop.example", "-keyout", world.path("tls.key"), "-out", world.path("tls.crt"))
    os.makedirs(world.path("files"), exist_ok=True)
    with open(world.path("files", "big"), "wb") as file:
        file.write(os.urandom(big))
    chosen = {n: at.backends[n] for n in names or at.backends}
    for name, namespace in chosen.items():
        config = world.write(f"{name}-nginx.conf", NGINX.format(
            name=name, dir=world.directory, rate=rate, more=TLS.format(name=name, dir=world.directory) if tls else ""))
        processes[name] = world.spawn(namespace, "nginx", "-p", world.directory, "-c", config, "-e",
                                      world.path(f"{name}-nginx.log"), log=f"{name}-nginx.log")
    for name, namespace in chosen.items():
        until(lambda n=namespace: ":80 " in n.run("ss", "-ltn").stdout, 10, f"nginx of {name} listens")
    return processes


def sick(at, name, is_so=True, what="sick"):
    """The backend's /healthz says 503, though it goes on serving; or 200 again."""
    if is_so:
        at.world.write(f"{name}-{what}", "")
    elif os.path.exists(at.world.path(f"{name}-{what}")):
        os.unlink(at.world.path(f"{name}-{what}"))


def broken(at, name, is_so=True):
    """The backend resets connections that ask for /work; or answers again."""
    sick(at, name, is_so, "broken")


def udp_echo(at, port=5353):
    """Answers each datagram with "NAME PORT-OF-CLIENT its-bytes"."""
    here = os.path.dirname(os.path.abspath(__file__))
    for name, namespace in at.backends.items():
        at.world.spawn(namespace, "/usr/bin/python3", os.path.join(here, "clients.py"), "udp-server",
                       json.dumps({"name": name, "port": port}), log=f"{name}-udp.log")
    for name, namespace in at.backends.items():
        until(lambda n=namespace: f":{port} " in n.run("ss", "-lun").stdout, 10, f"UDP server of {name} listens")


def sshd(at, namespaces=None):
    """sshd with a key of our own; an ssh client's sh sees TEAL_NAME. Returns the client's options."""
    world = at.world
    key, host = world.path("ssh-client"), world.path("ssh-host")
    for path in (key, host):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
    if not os.path.isdir("/run/sshd"):
        os.makedirs("/run/sshd", mode=0o755)
        world.on_exit(lambda: os.rmdir("/run/sshd"))
    for name, namespace in (namespaces or at.backends).items():
        config = world.write(f"{name}-sshd.conf", f"""Port 22
HostKey {host}
PidFile {world.path(name + '-sshd.pid')}
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
SetEnv TEAL_NAME={name}
""")
        world.spawn(namespace, "/usr/sbin/sshd", "-D", "-e", "-f", config, log=f"{name}-sshd.log")
    for name, namespace in (namespaces or at.backends).items():
        until(lambda n=namespace: ":22 " in n.run("ss", "-ltn").stdout, 10, f"sshd of {name} listens")
    return ["-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            "-o", "ConnectTimeout=5", "-o", "BatchMode=yes"]
