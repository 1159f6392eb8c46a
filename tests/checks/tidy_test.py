"""Plants each fault that tidy.py looks for, and sees that it is found, and that its harmless neighbour is not."""

import unittest

import tidy

FOLDERS = {
    "switchboard": "", "switchboard-envelope": "adapters/envelope", "switchboard-adapter-sdk": "adapters/sdk",
    "switchboard-sms": "adapters/sms", "switchboard-routing-rules": "routing-rules", "switchboard-simulators": "tests/simulators",
}
TREES = {
    "switchboard": {"switchboard-sms", "switchboard-routing-rules", "switchboard-envelope", "switchboard-adapter-sdk", "tokio"},
    "switchboard-envelope": {"serde"}, "switchboard-adapter-sdk": {"switchboard-envelope", "reqwest"},
    "switchboard-sms": {"switchboard-adapter-sdk", "switchboard-envelope", "tokio"},
    "switchboard-routing-rules": {"switchboard-envelope", "regex"}, "switchboard-simulators": {"switchboard-sms"},
}


def with_tree(name, *extra):
    return list(tidy.directions(FOLDERS, TREES | {name: TREES[name] | set(extra)}))


class Directions(unittest.TestCase):
    def test_the_arrows_as_drawn_are_fine(self):
        self.assertEqual(with_tree("switchboard"), [])

    def test_the_core_knows_no_sdk_runtime_or_database(self):
        for extra in ("switchboard-adapter-sdk", "tokio", "rusqlite", "async-nats", "reqwest"):
            self.assertTrue(with_tree("switchboard-routing-rules", extra), extra)

    def test_adapters_know_no_rules_and_no_other_adapter(self):
        self.assertTrue(with_tree("switchboard-sms", "switchboard-routing-rules"))
        self.assertTrue(with_tree("switchboard-adapter-sdk", "switchboard-sms"))

    def test_the_daemon_knows_no_test_crate(self):
        self.assertTrue(with_tree("switchboard", "switchboard-simulators"))

    def test_a_second_tls_stack_is_found(self):
        self.assertTrue(list(tidy.one_tls_stack({"switchboard": {"rustls", "ring"}})))
        self.assertFalse(list(tidy.one_tls_stack({"switchboard": {"rustls"}})))


class Code(unittest.TestCase):
    def test_unsafe_must_be_forbidden_in_root_and_manifest(self):
        good = {"a/src/lib.rs": "#![forbid(unsafe_code)]\n", "a/Cargo.toml": "[package]\n[lints]\nworkspace = true\n"}
        self.assertEqual(list(tidy.unsafe_forbidden(good, ["a/src/lib.rs"])), [])
        self.assertEqual(len(list(tidy.unsafe_forbidden({"a/src/lib.rs": "", "a/Cargo.toml": "[package]\n"}, ["a/src/lib.rs"]))), 2)

    def test_unfinished_code_is_found(self):
        for line in ("#[ignore]", "#[ignore = \"slow\"]", "todo!()", "unimplemented!(\"x\")", "// FIXME later", "#[allow(dead_code)]"):
            self.assertEqual(len(list(tidy.finished({"a.rs": line + "\n"}))), 1, line)
        self.assertEqual(list(tidy.finished({"a.rs": "#[expect(dead_code, reason = \"r\")]\nlet ignored = 1;\n"})), [])

    def test_a_long_file_is_found(self):
        self.assertEqual(len(list(tidy.short_files({"a.rs": "\n" * 701, "b.rs": "\n" * 700, "schema.json": "\n" * 9000}))), 1)

    def test_a_name_that_says_nothing_is_found(self):
        self.assertEqual(len(list(tidy.honest_names({"src/utils.rs": "", "src/router.rs": ""}))), 1)


class Documents(unittest.TestCase):
    def test_invariants_are_explained_and_checked(self):
        self.assertEqual(list(tidy.invariants({"ARCHITECTURE.md": "I1: a promise", "a.rs": "// I1"})), [])
        self.assertEqual(len(list(tidy.invariants({"ARCHITECTURE.md": "I1 and I2", "a.rs": "// I1 and I3"}))), 2)
        self.assertTrue(list(tidy.invariants({"a.rs": ""})))

    def test_links_lead_somewhere(self):
        files = {"README.md": "# A Title!\n[a](docs/a.md#there) [b](#a-title) [c](https://x.example/y)\n```\n[no](nowhere)\n```\n",
                 "docs/a.md": "## There\n[up](../README.md)\n"}
        self.assertEqual(list(tidy.links(files, files.__contains__)), [])
        for bad in ("[a](gone.md)", "[a](#gone)", "[a](docs/a.md#gone)"):
            self.assertEqual(len(list(tidy.links(files | {"b.md": bad}, files.__contains__))), 1, bad)

    def test_entry_points(self):
        good = {"README.md": "run tests/run", "ARCHITECTURE.md": "", "CHANGELOG.md": "", "tests/run": "", ".ci/run": "exec tests/run"}
        self.assertEqual(list(tidy.entry_points(good)), [])
        self.assertEqual(len(list(tidy.entry_points(good | {".ci/run": ""}))), 1)
        self.assertEqual(len(list(tidy.entry_points({k: v for k, v in good.items() if k != "README.md"}))), 1)


if __name__ == "__main__":
    unittest.main()
