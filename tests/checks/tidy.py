#!/usr/bin/env python3
"""Keeps the tree, the documents and the shape of the workspace together.

Each check is a function over the tracked files ({path: text}) or over what `cargo tree` and `cargo metadata` say, and yields
one line a fault: the place, and what to do. `tests/checks/tidy_test.py` plants each fault and sees that it is found.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 700
CODE = (".rs", ".js", ".mjs", ".css", ".py", ".html")

# What a crate must not know, however indirectly.
CORE_MUST_NOT_KNOW = {
    "switchboard-adapter-sdk", "tokio", "rusqlite", "libsqlite3-sys", "async-nats", "reqwest", "hyper", "axum", "rustls",
    "tracing", "rand",
}
WIRE_MUST_NOT_KNOW = CORE_MUST_NOT_KNOW | {"regex", "minijinja", "aws-lc-rs"}
ADAPTER_MUST_NOT_KNOW = {"rusqlite", "libsqlite3-sys", "async-nats", "axum", "minijinja", "config"}
SECOND_TLS_STACK = {"ring", "openssl", "openssl-sys", "native-tls", "boring", "boring-sys", "mbedtls", "wolfssl"}


# --- the shape of the workspace ---------------------------------------------------------------------------------------

def allowed_crates(name, folder, names):
    """Which crates of the workspace `name` may depend on: the arrows of ARCHITECTURE.md."""
    wire, sdk, core = "switchboard-envelope", "switchboard-adapter-sdk", "switchboard-routing-rules"
    if name == wire:
        return set()
    if name in (sdk, core):
        return {wire}
    if folder.startswith("adapters/"):
        return {wire, sdk}
    if folder.startswith("tests/"):
        return set(names)
    return {n for n in names if not names[n].startswith("tests/")}


def forbidden_crates(name, folder):
    if name == "switchboard-envelope":
        return WIRE_MUST_NOT_KNOW
    if name == "switchboard-routing-rules":
        return CORE_MUST_NOT_KNOW
    if folder.startswith("adapters/"):
        return ADAPTER_MUST_NOT_KNOW
    return set()


def directions(folders, trees):
    """`folders`: {crate: its folder}; `trees`: {crate: every crate that it depends on, however indirectly}."""
    for name, folder in sorted(folders.items()):
        ours = {d for d in trees[name] if d in folders}
        for extra in sorted(ours - allowed_crates(name, folder, folders)):
            yield f"{folder or '.'}/Cargo.toml: {name} must not depend on {extra} (see ARCHITECTURE.md); move what it needs down"
        for extra in sorted(trees[name] & forbidden_crates(name, folder)):
            yield f"{folder or '.'}/Cargo.toml: {name} must not reach {extra}, even indirectly; `cargo tree -p {name} -i {extra}` shows how"


def one_tls_stack(trees):
    """Over what is built: Cargo.lock also names what nobody enables."""
    for name in sorted(SECOND_TLS_STACK & set().union(*trees.values())):
        yield f"Cargo.toml: {name} is a second TLS or cryptography stack; `cargo tree --target all -i {name}` shows who brings it"


# --- the code ---------------------------------------------------------------------------------------------------------

def unsafe_forbidden(files, roots):
    """`roots`: the root file of every library and program of ours."""
    for path in roots:
        if "#![forbid(unsafe_code)]" not in files.get(path, ""):
            yield f"{path}:1: write #![forbid(unsafe_code)] at the top of the crate"
    for path, text in files.items():
        # What a fuzzer runs is a C function, which a macro of its own writes; it is built by nobody else.
        fuzzer = "cargo-fuzz = true" in text
        if path.endswith("Cargo.toml") and "[package]" in text and not fuzzer and not re.search(
                r'^\[lints\]\s*\nworkspace = true|^unsafe_code = "forbid"', text, re.M):
            yield f"{path}: take the workspace's lints: [lints] workspace = true"


UNFINISHED = [
    (re.compile(r"#\s*\[\s*ignore\b"), "an ignored test proves nothing: mend it or remove it"),
    (re.compile(r"\b(todo|unimplemented)!\s*[(\[{]"), "finish it, or return an error that says what is missing"),
    (re.compile(r"\b(FIXME|XXX|HACK)\b"), "mend it, or open an issue and name it"),
    (re.compile(r"#!?\[\s*allow\s*\("), "write #[expect(…, reason = \"…\")], which goes away with its cause"),
]


def finished(files):
    for path, text in files.items():
        if not path.endswith(".rs"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, advice in UNFINISHED:
                if pattern.search(line):
                    yield f"{path}:{number}: {advice}"


def short_files(files):
    for path, text in files.items():
        lines = text.count("\n")
        if path.endswith(CODE) and lines > MAX_LINES:
            yield f"{path}: {lines} lines, more than {MAX_LINES}: more than one idea; split it"


def honest_names(files):
    for path in files:
        if path.endswith(".rs") and Path(path).stem in {"utils", "util", "helpers", "helper", "manager", "misc"}:
            yield f"{path}: name it after what it knows; `{Path(path).stem}` could hold anything"


# --- the documents ----------------------------------------------------------------------------------------------------

INVARIANT = re.compile(r"\bI[1-9][0-9]?\b")


def invariants(files):
    """An id is used in the code and explained in ARCHITECTURE.md, or in neither."""
    explained = set(INVARIANT.findall(files.get("ARCHITECTURE.md", "")))
    used = {}
    for path, text in files.items():
        if path.endswith(".rs"):
            for number, line in enumerate(text.splitlines(), 1):
                for name in INVARIANT.findall(line):
                    used.setdefault(name, f"{path}:{number}")
    if not explained:
        yield "ARCHITECTURE.md: it names no invariant; list the promises with their ids I1, I2 …"
    for name in sorted(set(used) - explained, key=lambda n: int(n[1:])):
        yield f"{used[name]}: ARCHITECTURE.md does not explain {name}"
    for name in sorted(explained - set(used), key=lambda n: int(n[1:])):
        yield f"ARCHITECTURE.md: no code checks {name}"


LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)


def anchors(text):
    found = set()
    for line in FENCE.sub("", text).splitlines():
        if match := re.match(r"#{1,6}\s+(.*?)\s*#*$", line):
            title = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).lower()
            found.add(re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-"))
    return found


def links(files, exists):
    """`exists(path)`: whether a path in the checkout exists, tracked or a folder of tracked files."""
    for path, text in files.items():
        if not path.endswith(".md"):
            continue
        for target in LINK.findall(FENCE.sub("", text)):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            name, _, anchor = target.partition("#")
            to = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if name and not exists(to):
                yield f"{path}: the link {target} leads nowhere"
            elif anchor and to.endswith(".md") and anchor not in anchors(files.get(to, "")):
                yield f"{path}: the link {target} names a heading that {to} does not have"


def entry_points(files):
    for path in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "tests/run", ".ci/run"):
        if path not in files:
            yield f"{path}: missing"
    if "tests/run" not in files.get(".ci/run", ""):
        yield ".ci/run: it must call tests/run"
    if "tests/run" not in files.get("README.md", "tests/run"):
        yield "README.md: it must name the test command, tests/run"


# --- running them -----------------------------------------------------------------------------------------------------

def tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    files = {}
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            files[name] = path.read_bytes().decode("utf-8", "replace")
    return files


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"cargo {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def workspace():
    meta = json.loads(cargo("metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"))
    folders, roots = {}, []
    for package in meta["packages"]:
        folder = Path(package["manifest_path"]).parent.relative_to(ROOT).as_posix()
        folders[package["name"]] = "" if folder == "." else folder
        for target in package["targets"]:
            if set(target["kind"]) & {"lib", "bin"}:
                roots.append(Path(target["src_path"]).relative_to(ROOT).as_posix())
    trees = {}
    for name in folders:
        out = cargo("tree", "-p", name, "-e", "normal,build", "--prefix", "none", "--format", "{p}", "--all-features",
                    "--target", "all", "--locked", "--offline")
        trees[name] = {line.split()[0] for line in out.splitlines() if line.strip()} - {name}
    return folders, trees, roots


def main():
    files = tracked()
    folders, trees, roots = workspace()
    faults = []
    for check, found in (
        ("directions", directions(folders, trees)),
        ("one TLS stack", one_tls_stack(trees)),
        ("no unsafe code", unsafe_forbidden(files, roots)),
        ("nothing unfinished", finished(files)),
        ("short files", short_files(files)),
        ("honest names", honest_names(files)),
        ("invariants", invariants(files)),
        ("links", links(files, lambda path: (ROOT / path).exists())),
        ("entry points", entry_points(files)),
    ):
        found = list(found)
        print(f"{'FAIL' if found else 'ok  '} {check}")
        faults += found
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
