#!/usr/bin/env python3
"""What deploy/ promises: the unit is valid, tight, and lets the program do what it does; the image is built from what its
context holds, and runs as nobody; alerts and the dashboard ask for metrics that there are.

`tests/checks/deploy.py [PROGRAM]`: with the built program it is also run, and its system calls are compared with those that
the unit allows."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/switchboard.service"
# In tenths, as systemd-analyze takes it.
EXPOSURE = 20


def run(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, **options)


# --- the unit ---------------------------------------------------------------------------------------------------------

def settings(text):
    """Every value of every key, in order; an empty value takes back what stood before, as systemd reads it."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2].strip())
    return found


def exposure():
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(UNIT))
    said = (done.stdout + done.stderr).strip().splitlines()
    if done.returncode:
        yield f"{UNIT.name}: more exposed than {EXPOSURE / 10}: {said[-1] if said else done.returncode}"


def valid():
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / UNIT.name
        # The program is not installed here.
        copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.M))
        done = run("systemd-analyze", "verify", "--man=no", str(copy))
    # What is wrong with the machine's own units is not ours.
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    for line in ours:
        yield f"{UNIT.name}: {line}"


def supervised():
    unit = settings(UNIT.read_text())
    for key, value in {"Type": "notify", "DynamicUser": "yes", "StateDirectory": "switchboard", "NoNewPrivileges": "yes"}.items():
        if unit.get(key) != [value]:
            yield f"{UNIT.name}: write {key}={value}"
    for key in ("WatchdogSec", "LoadCredential", "TimeoutStopSec"):
        if not unit.get(key):
            yield f"{UNIT.name}: {key} is missing"


# --- what the program does, and what the unit lets it do --------------------------------------------------------------

def expanded(name):
    """The system calls of a set of systemd, and of the sets in it."""
    calls = set()
    for line in run("systemd-analyze", "syscall-filter", "--no-pager", name).stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            calls |= expanded(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed():
    calls = set()
    for value in settings(UNIT.read_text())["SystemCallFilter"]:
        names = value.lstrip("~").split()
        sets = set().union(*(expanded(n) if n.startswith("@") else {n} for n in names))
        calls = calls - sets if value.startswith("~") else calls | sets
    return calls


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, body=None):
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


def installed(root):
    """Does under `root` what the documents say for systemd, and hands over the credentials as the unit does: the environment
    in which the program finds them."""
    steps = re.search(r"^## systemd$.*?^```sh$(.*?)^```$", (ROOT / "docs/operators/deploy.md").read_text(), re.M | re.S)[1]
    for folder in ("etc", "usr/local/bin", "etc/systemd/system"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    # What builds, what speaks to systemd, and the program itself are not for here.
    skipped = ("cargo ", "sudo systemctl ", "sudo install -m 0755 target/")
    lines = [line for line in steps.splitlines() if line.strip() and not line.startswith(skipped)]
    script = re.sub(r" /(?=etc/)", f" {root}/", "\n".join(lines)).replace("sudo ", "")
    run("bash", "-euc", script, cwd=ROOT, check=True)
    credentials = root / "run"
    credentials.mkdir()
    for value in settings(UNIT.read_text())["LoadCredential"]:
        name, path = value.split(":", 1)
        shutil.copyfile(root / path.lstrip("/"), credentials / name)
    return {"PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": str(credentials)}


def configuration(root):
    """Where the unit's command line looks for it."""
    return str(root) + re.search(r"--config (\S+)", settings(UNIT.read_text())["ExecStart"][0])[1]


def starts(program):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        done = run(program, "check", "--config", configuration(root), env=installed(root))
    said = (done.stdout + done.stderr).strip()
    if done.returncode or "warning" in said or not re.search(rf"^rules: {re.escape(str(root))}/etc/switchboard/rules", said, re.M):
        yield f"docs/operators/deploy.md: after its steps for systemd, `switchboard check` says: {said}"


def answering(daemon, admin, said):
    deadline = time.monotonic() + 60
    while True:
        try:
            return get(f"http://127.0.0.1:{admin}/readyz")
        except OSError:
            if time.monotonic() > deadline or daemon.poll() is not None:
                raise SystemExit(f"the program did not start: {said.read_text()}")
            time.sleep(0.05)


def calls_of(program, root):
    """The system calls of a whole life, after the steps of the documents: start, a visitor's page, health, a reload of the
    rules, the drain."""
    public, admin = free_port(), free_port()
    trace = root / "trace"
    environment = installed(root) | {
        "SWITCHBOARD__LOG__PATH": str(root / "state"), "SWITCHBOARD__HTTP__LISTEN": f"127.0.0.1:{public}",
        "SWITCHBOARD__ADMIN__LISTEN": f"127.0.0.1:{admin}", "NOTIFY_SOCKET": f"@switchboard-{os.getpid()}", "WATCHDOG_USEC": "200000",
    }
    command = ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(trace), program, "run", "--config", configuration(root)]
    with open(root / "said", "wb") as said:
        daemon = subprocess.Popen(command, cwd=root, env=environment, stdout=said, stderr=said)
    try:
        answering(daemon, admin, root / "said")
        for path in ("/chat/site", "/chat/site/widget.js"):
            get(f"http://127.0.0.1:{public}{path}")
        get(f"http://127.0.0.1:{admin}/metrics")
        # strace passes a signal on to nobody: the program is its child.
        child = int(run("pgrep", "-P", str(daemon.pid)).stdout.split()[0])
        os.kill(child, signal.SIGHUP)
        get(f"http://127.0.0.1:{admin}/readyz")
        os.kill(child, signal.SIGTERM)
        daemon.wait(timeout=60)
    finally:
        daemon.kill()
    lines = trace.read_text(errors="replace").splitlines()
    return {m[1] for line in lines if (m := re.match(r"\d+ +(?:<\.\.\. )?([a-z0-9_]+)[ (]", line))}


def sandboxed(program):
    with tempfile.TemporaryDirectory() as folder:
        used = calls_of(program, Path(folder))
    if len(used) < 30:
        yield f"only {len(used)} system calls were seen: {sorted(used)}"
    # SQLite gives its files to the owner of the database when it is root, which the unit's program never is.
    as_root = {"fchown"} if os.geteuid() == 0 else set()
    for call in sorted(used - allowed() - as_root):
        yield f"{UNIT.name}: SystemCallFilter denies {call}, which the program uses"


# --- the image --------------------------------------------------------------------------------------------------------

def included(folder, source):
    """The files that a source compiles into the program; of a name that a macro makes, the folder."""
    text = (folder / source).read_text()
    for name, prefix in re.findall(r'include_(?:str|bytes)!\(\s*(?:"([^"]+)"|concat!\(\s*"([^"]+)")', text):
        yield os.path.normpath(Path(source).parent / (name or prefix))


def context():
    """The image's context holds what the build reads."""
    kept = []
    for line in (ROOT / "deploy/Containerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            kept.append(line[1:])
        elif line and not line.startswith("#") and line != "*":
            yield f"Containerfile.dockerignore: `{line}` is neither `*` nor an exception"
    files = list(filter(None, run("git", "ls-files", "-z", "--", *kept, cwd=ROOT).stdout.split("\0")))
    with tempfile.TemporaryDirectory() as folder:
        for name in files:
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, Path(folder) / name)
        done = run("cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1", cwd=folder)
        if done.returncode:
            yield f"Containerfile.dockerignore: the workspace does not load from the image's context: {done.stderr.strip()}"
            return
        packages = json.loads(done.stdout)["packages"]
        for target in (t for p in packages for t in p["targets"] if set(t["kind"]) & {"lib", "bin"}):
            if not Path(target["src_path"]).is_file():
                yield f"Containerfile.dockerignore: {target['src_path']} is left out"
        # Tests are not built there.
        sources = [f for f in files if f.endswith(".rs") and not re.search(r"tests?(/|\.rs$)", f)]
        found = [(source, name) for source in sources for name in included(Path(folder), source)]
        if not found:
            yield "deploy.py: no source includes a file, which cannot be: does it still look for them rightly?"
        for source, name in found:
            if not (Path(folder) / name).exists():
                yield f"Containerfile.dockerignore: {name} is left out, and {source} includes it"


def services():
    """{name: the text of the service}, in deploy/compose.yaml; what it takes from the broker's anchor stands in it."""
    text = (ROOT / "deploy/compose.yaml").read_text()
    broker = re.search(r"^x-broker: &broker\n(.*?)^\S", text, re.M | re.S)[1]
    section = re.search(r"^services:\n(.*?)^\S", text, re.M | re.S)[1]
    parts = re.split(r"^  ([\w-]+):\n", section, flags=re.M)[1:]
    return {name: body.replace("<<: *broker\n", broker) for name, body in zip(parts[::2], parts[1::2])}


def volumes_of(service):
    """{volume: where it is mounted}; files of ours are not among them."""
    return dict(re.findall(r'"([\w-]+):(/(?!/)[\w/-]+)', service))


def owned():
    """A volume that docker makes for a folder which the image does not have is root's: somebody must give it away first. The
    command that does is run here, over folders in the place of the volumes."""
    all_services = services()
    stores = all_services["stores"]
    entrypoint = json.loads(re.search(r"entrypoint: (\[.*\])", stores)[1])
    if not (re.search(r'user: "0:0"', stores) and re.search(r"cap_add: \[CHOWN\]", stores)):
        yield "compose.yaml: `stores` has to be root, with the capability CHOWN"
    mounts = volumes_of(stores)
    for name, service in all_services.items():
        user = re.search(r'user: "([1-9]\d*):\1"', service)
        if not user:
            continue
        if not re.search(r"stores: \{ condition: service_completed_successfully \}", service):
            yield f"compose.yaml: {name} must start after `stores` succeeded"
        with tempfile.TemporaryDirectory() as root:
            for inside in mounts.values():
                Path(root, inside.lstrip("/")).mkdir(parents=True)
            if os.geteuid() == 0:
                done = run(*(root + word if word.startswith("/") else word for word in entrypoint))
                owners = {volume: Path(root, inside.lstrip("/")).stat().st_uid for volume, inside in mounts.items()}
                if done.returncode:
                    yield f"compose.yaml: `stores` fails: {done.stderr.strip()}"
            else:
                # Giving files away is root's: what is named is all that can be seen.
                owners = {v: int(entrypoint[1].split(":")[0]) for v, inside in mounts.items() if inside in entrypoint}
        for volume in volumes_of(service):
            if owners.get(volume) != int(user[1]):
                yield f"compose.yaml: {name} runs as {user[1]}, to whom `stores` does not give the volume {volume}"


# --- the brokers ------------------------------------------------------------------------------------------------------

# Public halves of pairs that were made for this.
KEYS = {
    "DAEMON_NKEY": "UBZAXALZ65UGYXAEGG7QSOCK4HTSF3HFR52A2O6P6HFPJADXZQFBMX7V",
    "ROUTER_NKEY": "UBC2O7WOVSIMQLBZACKRSJGBR5E7NXAUEVZCGC67RD3DONH67JTS6CLV",
    "EDGE_NKEY": "UA7K7SGKOVBIO33OVFIDZDIBRFPOONSRKQ6HVCAFSLHPMYW6QT445FJT",
    "LINE_PASSWORD": "a-password-of-the-checks",
}
CLUSTER = {
    "NATS_NAME": "nats-1", "NATS_LISTEN": "127.0.0.1:4222", "NATS_MONITOR": "127.0.0.1:8222", "NATS_CLUSTER_LISTEN": "127.0.0.1:6222",
    "NATS_STORE": "/tmp", "NATS_ROUTES": '["nats://cluster:a-password@127.0.0.1:6222"]', "CLUSTER_PASSWORD": "a-password",
}


def whole(users):
    """With the entries that are shipped behind `#`."""
    return re.sub(r"^      #(?! [^ ])", "      ", users, flags=re.M)


def brokers():
    """nats-server takes each configuration with what the documents tell it, as it is and with the entries behind `#`, and does not
    start without its keys."""
    server = os.environ.get("SWITCHBOARD_NATS_SERVER")
    if not server:
        yield "set SWITCHBOARD_NATS_SERVER to a nats-server, which `tests/run nats` installs"
        return
    users = (ROOT / "deploy/nats-users.conf").read_text()
    given = set(re.findall(r"^  ([A-Z_]+):", (ROOT / "deploy/compose.yaml").read_text(), re.M)) | {"NATS_NAME"}
    for name in sorted(CLUSTER.keys() - given):
        yield f"compose.yaml: nats-cluster.conf needs {name}"
    for config, values in (("nats.conf", {}), ("nats-cluster.conf", CLUSTER)):
        for text, keys in ((users, {"DAEMON_NKEY": KEYS["DAEMON_NKEY"]}), (whole(users), KEYS)):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copyfile(ROOT / "deploy" / config, Path(folder) / config)
                (Path(folder) / "nats-users.conf").write_text(text)
                test = lambda env: run(server, "-t", "-c", config, cwd=folder, env={"PATH": os.environ["PATH"], **values, **env})
                done = test(keys)
                if done.returncode:
                    yield f"{config}: nats-server says {(done.stdout + done.stderr).strip()}"
                for key in keys:
                    if not test({k: v for k, v in keys.items() if k != key}).returncode:
                        yield f"{config}: it starts without {key}"


def image():
    text = (ROOT / "deploy/Containerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    last = stages[-1]
    if len(stages) < 2:
        yield "Containerfile: the compiler does not belong into the image: build in a stage of its own"
    user = re.search(r"^USER (\d+)", last, re.M)
    if not user or user[1] == "0":
        yield "Containerfile: name a USER by number, and not 0"
    for word in ("HEALTHCHECK", "ENTRYPOINT", "VOLUME"):
        if not re.search(rf"^{word} ", last, re.M):
            yield f"Containerfile: {word} is missing"
    for source in re.findall(r"(\./[\w./-]+):[/\w]", (ROOT / "deploy/compose.yaml").read_text()):
        if not (ROOT / "deploy" / source).exists():
            yield f"compose.yaml: {source} is not in deploy/"


# --- what is watched ----------------------------------------------------------------------------------------------------

def metrics():
    """{name as Prometheus has it: its labels}, of every metric that the daemon's sources register."""
    found = {}
    for source, prefix in (("src/metrics.rs", "switchboard_"), ("src/http/chat/metrics.rs", "")):
        text = (ROOT / source).read_text()
        labels = {m[1]: set(re.findall(r"^    (\w+):", m[2], re.M)) for m in re.finditer(r"struct (\w+) \{\n(.*?)^\}", text, re.M | re.S)}
        fields = {m[1]: (m[3], labels.get(m[2], set())) for m in re.finditer(
            r"^    (?:pub )?(\w+): (?:Family<(\w+), )?(Counter|Gauge|Histogram)", text, re.M)}
        for name, field in re.findall(r'register\(\s*"(\w+)",\s*"[^"]*",\s*self\.(\w+)\.clone\(\)', text):
            kind, of = fields[field]
            endings = {"Counter": {"_total": of}, "Gauge": {"": of}, "Histogram": {"_bucket": of | {"le"}, "_sum": of, "_count": of}}
            found |= {prefix + name + ending: labels for ending, labels in endings[kind].items()}
    return found


def expressions():
    """Where it stands and what it asks, of each alert and each panel."""
    for name, rule in re.findall(r"- alert: (\w+)\n(.*?)(?=\n      - alert|\Z)", (ROOT / "deploy/alerts.yaml").read_text(), re.S):
        yield f"alerts.yaml: {name}", re.search(r"expr: (.*)", rule)[1], rule
    for panel in json.loads((ROOT / "deploy/dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield f"dashboard.json: {panel['title']}", target["expr"], target["legendFormat"]


def watched():
    """Alerts and panels ask for metrics and labels that there are."""
    known, asked = metrics(), set()
    for where, expression, rest in expressions():
        names = re.findall(r"switchboard_\w+", expression)
        for name in (n for n in names if n not in known):
            yield f"{where}: there is no metric {name}"
        asked |= set(names)
        # What all of them bring, and what Prometheus adds.
        labels = set.intersection(*(known.get(n, set()) for n in names)) if names else set()
        wanted = re.findall(r"[{,]\s*(\w+)(?:=|!=|=~)\"", expression)
        wanted += [w for by in re.findall(r"by \(([^)]*)\)", expression) for w in re.split(r",\s*", by)]
        wanted += re.findall(r"\$labels\.(\w+)", rest) + re.findall(r"\{\{(\w+)\}\}", rest)
        for label in sorted(set(wanted) - labels - {"job", "instance"}):
            yield f"{where}: what it asks for has no label {label}"
    if len(asked) < 15:
        yield f"deploy.py: only {sorted(asked)} are asked for, which cannot be: does it still read them rightly?"


def told(program):
    """The sources say of the metrics what /metrics says."""
    with tempfile.TemporaryDirectory() as folder:
        root, admin = Path(folder), free_port()
        environment = installed(root) | {
            "SWITCHBOARD__LOG__PATH": str(root / "state"), "SWITCHBOARD__HTTP__LISTEN": f"127.0.0.1:{free_port()}",
            "SWITCHBOARD__ADMIN__LISTEN": f"127.0.0.1:{admin}",
        }
        with open(root / "said", "wb") as said:
            daemon = subprocess.Popen([program, "run", "--config", configuration(root)], cwd=root, env=environment, stdout=said, stderr=said)
        try:
            answering(daemon, admin, root / "said")
            text = get(f"http://127.0.0.1:{admin}/metrics").decode()
        finally:
            daemon.kill()
            daemon.wait()
    known = metrics()
    samples = re.findall(r"^(switchboard_\w+)(?:\{(.*)\})? \S+$", text, re.M)
    if len(samples) < 30:
        yield f"/metrics has only {len(samples)} samples"
    for name, labels in samples:
        if known.get(name) != set(re.findall(r'(\w+)="', labels)):
            yield f"/metrics has {name} with {labels or 'no labels'}; in the sources it has {known.get(name)}"


def confined():
    """No container writes to its own files, or has a capability that it does not need."""
    for name, service in services().items():
        for line in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]'):
            if line not in service:
                yield f"compose.yaml: {name} lacks `{line}`"


VOLUME = "/var/lib/switchboard"


def container(program, root, *command):
    """The command line of a container of the image: what its last stage holds, read-only; one volume; the image's user, without
    capabilities. bubblewrap takes new privileges away by itself."""
    user, group = re.search(r"^USER (\d+):(\d+)", (ROOT / "deploy/Containerfile").read_text(), re.M).groups()
    shared = ["/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ssl", *(p for p in ("/lib", "/lib64") if not os.path.islink(p))]
    links = [arg for p in ("/lib", "/lib64") if os.path.islink(p) for arg in ("--symlink", os.readlink(p), p)]
    return ["bwrap", "--unshare-user", "--unshare-ipc", "--unshare-uts", "--uid", user, "--gid", group, "--cap-drop", "ALL",
            *(arg for p in shared if os.path.exists(p) for arg in ("--ro-bind", p, p)), *links,
            "--ro-bind", program, "/usr/local/bin/switchboard", "--ro-bind", ROOT / "routing-rules/packs", "/etc/switchboard/packs",
            "--ro-bind", root / "switchboard.toml", "/etc/switchboard/switchboard.toml", "--ro-bind", root / "secrets", "/run/secrets",
            "--bind", root / "volume", VOLUME, "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/", "--chdir", VOLUME,
            "--clearenv", "--setenv", "CREDENTIALS_DIRECTORY", "/run/secrets", "--die-with-parent", *command]


def contained(program):
    """Started as the container of compose.yaml is, but on the embedded log, it is ready and healthy, reads its rules again and ends."""
    image = (ROOT / "deploy/Containerfile").read_text()
    word = lambda name: json.loads(re.search(rf"^\s*{name} (\[.*\])$", image, re.M)[1])
    with tempfile.TemporaryDirectory() as folder:
        root, public, admin = Path(folder), free_port(), free_port()
        for name in ("volume", "secrets"):
            (root / name).mkdir()
        (root / "secrets/ops-token").write_text("a-token-that-is-long-enough-for-a-test\n")
        shipped = (ROOT / "deploy/compose.toml").read_text()
        log = f'[log]\npath = "{VOLUME}"\n\n'
        text = re.sub(r"^\[log\]\n.*?(?=^\[)", log, shipped, flags=re.M | re.S)
        text = text.replace("0.0.0.0:8080", f"127.0.0.1:{public}").replace("0.0.0.0:8081", f"127.0.0.1:{admin}")
        (root / "switchboard.toml").write_text(text)
        can = run(*container(program, root, *word("ENTRYPOINT"), "--version"))
        if can.returncode:
            yield f"nothing runs here as in a container (user namespaces have to be allowed): {can.stderr.strip()}"
            return
        with open(root / "said", "wb") as said:
            daemon = subprocess.Popen(container(program, root, *word("ENTRYPOINT"), *json.loads(re.findall(r"^CMD (\[.*\])$", image, re.M)[-1])),
                                      stdout=said, stderr=said)
        try:
            answering(daemon, admin, root / "said")
            get(f"http://127.0.0.1:{public}/chat/site")
            inside = run("pgrep", "-P", str(daemon.pid)).stdout.split()[0]
            status = Path(f"/proc/{inside}/status").read_text()
            for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1"):
                if line not in status:
                    yield f"the container is not as it should be: {line} is not in {status}"
            mounts = [line.split() for line in Path(f"/proc/{inside}/mountinfo").read_text().splitlines()]
            written = {m[4] for m in mounts if "rw" in m[5].split(",")}
            if wrong := {at for at in written if not at.startswith(("/dev", "/proc"))} ^ {VOLUME}:
                yield f"what can be written to is {sorted(written)}; look at {sorted(wrong)}"
            healthy = run(*container(program, root, *word("HEALTHCHECK.*\n\\s*CMD")))
            if healthy.returncode:
                yield f"Containerfile: HEALTHCHECK says {healthy.stdout}{healthy.stderr}"
            os.kill(int(inside), signal.SIGHUP)
            get(f"http://127.0.0.1:{admin}/readyz")
            os.kill(int(inside), signal.SIGTERM)
            if daemon.wait(timeout=60):
                yield f"it does not end well: {(root / 'said').read_text()}"
        finally:
            daemon.kill()
            daemon.wait()
        if not (root / "volume/log.db").exists():
            yield f"the volume holds {sorted(os.listdir(root / 'volume'))} and no log"


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else None
    checks = [("exposure", exposure()), ("a valid unit", valid()), ("supervision", supervised()), ("the image", image()),
              ("its context", context()), ("what the containers may", confined()), ("the brokers' volumes", owned()), ("the brokers' configurations", brokers()), ("alerts and the dashboard", watched())]
    if program:
        program = os.path.abspath(program)
        checks += [("the steps for systemd", starts(program)), ("metrics", told(program)), ("system calls", sandboxed(program)), ("a read-only root", contained(program))]
    faults = []
    for name, found in checks:
        found = list(found)
        print(f"{'FAIL' if found else 'ok  '} {name}")
        faults += found
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
