"""The nginx for the tests of deploy/nginx.conf: on the PATH, else (as a command) installed; and one that runs that file.

Run as a command, ``python tests/nginx.py`` makes sure that there is one and says what it did.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

UNPACKED = Path(sys.prefix) / "nginx"
PLACES = (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin")  # a user's PATH has no sbin
CONF = Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf"
HOST = "localhost"
# What surrounds the file where it is at home, as Debian's nginx.conf and that of nginx's images do.
AROUND = """
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 512; }}
http {{
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/realism.conf;
}}
"""


def find() -> str | None:
    """The path of an nginx, or None. REALISM_NGINX, when set, is taken at its word."""
    places = os.pathsep.join((*PLACES, str(UNPACKED / "usr" / "sbin")))
    return os.environ.get("REALISM_NGINX") or shutil.which("nginx", path=places)


def install() -> None:
    """Debian's package, unpacked beside the virtual environment: no service starts, nothing of the system changes.

    Where that does not run, as without its libraries, the package is installed.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        return
    print("No nginx found: fetching the system's package for the tests of deploy/ …", flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    UNPACKED.mkdir(parents=True, exist_ok=True)
    subprocess.run([*as_root, apt, "update", "-qq"], check=False, env=quiet)
    as_ours = [] if as_root else ["-o", "APT::Sandbox::User=root"]  # into a folder that apt's own user may not enter
    subprocess.run([apt, *as_ours, "download", "-qq", "nginx"], check=False, env=quiet, cwd=UNPACKED)
    for package in UNPACKED.glob("nginx_*.deb"):
        subprocess.run([dpkg, "--extract", package.name, "."], check=False, cwd=UNPACKED)
        package.unlink()
    program = UNPACKED / "usr" / "sbin" / "nginx"
    if program.exists() and subprocess.run([program, "-v"], check=False, capture_output=True).returncode == 0:
        return
    program.unlink(missing_ok=True)
    command = [*as_root, apt, "install", "-y", "-qq", "--no-install-recommends", "nginx-light"]
    subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL)


def substituted(folder: Path, port: int, plain_port: int, servers: Sequence[str], store: Path) -> str:
    """deploy/nginx.conf with ports, paths and names of a test; whatever is to be replaced must stand in it."""
    told = CONF.read_text()
    changes = {
        r"server app-1:8000([^;]*);\n\s*server app-2:8000[^;]*;": "\n".join(rf"server {one}\1;" for one in servers),
        r"listen \[::\]:\d+[^;]*;": "",  # a machine of tests may have no IPv6
        r"listen 443": f"listen 127.0.0.1:{port}",
        r"listen 80;": f"listen 127.0.0.1:{plain_port};",
        r"survey\.example\.org": HOST,
        r"/etc/nginx/tls/": f"{folder}/",
        r"/var/log/nginx/": f"{folder}/",
        r"/var/www/certbot": f"{folder}/certbot",
        r"alias /srv/realism/store/": f"alias {store}/",
    }
    for pattern, value in changes.items():
        told, n = re.subn(pattern, value, told)
        assert n, f"deploy/nginx.conf has no {pattern}"
    return told


def write_certificate(folder: Path) -> Path:
    """fullchain.pem and privkey.pem for HOST, signed by themselves; the path of the first."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)
    path = folder / "fullchain.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def running(folder: Path, port: int, plain_port: int, servers: Sequence[str], store: Path) -> Iterator[Path]:
    """nginx with deploy/nginx.conf before ``servers`` (HOST:PORT each), until the block ends; its certificate.

    What it logs lies in ``folder``: access.log (a line per request), error.log.
    """
    program = find()
    assert program, "there is no nginx; run 'python tests/nginx.py', or 'make test', which does"
    folder.mkdir(parents=True, exist_ok=True)
    certificate = write_certificate(folder)
    (folder / "realism.conf").write_text(substituted(folder, port, plain_port, servers, store))
    user = (
        "user root;" if os.geteuid() == 0 else ""
    )  # else its workers are nobody, who may not enter the folders of a test
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
    command = [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr, checked.stderr
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 30
    while not (folder / "nginx.pid").read_text():  # the check made it, empty; nginx writes to it once it listens
        assert process.poll() is None, (folder / "error.log").read_text()
        assert time.monotonic() < deadline, "nginx did not start within 30 s"
        time.sleep(0.02)
    try:
        yield certificate
    finally:
        process.terminate()
        process.wait(timeout=30)


def main() -> None:
    if find() is None:
        install()
    path = find()
    if path is None:
        sys.exit("No nginx could be installed; install one, or set REALISM_NGINX to the path of its executable")
    print(f"nginx for the tests of deploy/: {path}")


if __name__ == "__main__":
    main()
