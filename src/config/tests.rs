use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// An environment in which every secret of the examples is set.
fn environment() -> Environment {
    [
        ("TWILIO_AUTH_TOKEN", "12345secret67890"),
        ("TWILIO_OLD_TOKEN", "007"),
        ("TWILIO_API_SECRET", "apisecretvalue"),
        ("SWITCHBOARD_OPS_TOKEN", "0123456789abcdef0123456789abcdef"),
        ("CHAT_IDENTITY_SECRET", "visitorsecretvalue"),
        ("HOOK_SECRET", "a-hook-secret-of-the-tests"),
        ("TELEGRAM_TOKEN", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"),
        ("CRM_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
        ("NATS_NKEY", "SUAPT3AUXD5JGY672D4BLUSBURXBNBLQBYDLURDRA354V7MJGTR5AG5WOY"),
        ("PROXY_URL", "http://user:hunter2@proxy.internal:3128"),
    ]
    .into_iter()
    .collect()
}

fn load_at(path: &str, env: &Environment) -> Result<Config, ConfigError> {
    load(Some(&root().join(path)), env)
}

fn with(extra: &[(&str, &str)]) -> Environment {
    let base = environment();
    let all: Vec<(String, String)> = ["TWILIO_AUTH_TOKEN", "SWITCHBOARD_OPS_TOKEN"]
        .iter()
        .filter_map(|n| base.get(n).ok().flatten().map(|v| ((*n).to_owned(), v.to_owned())))
        .chain(extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
        .collect();
    all.into_iter().collect()
}

fn text(toml: &str, env: &Environment) -> Result<Config, ConfigError> {
    from_text(toml, Source::File("t.toml".into()), env)
}

fn sms_settings(config: &Config) -> &switchboard_adapter_sdk::Settings {
    let ChannelKind::Sms(SmsConfig { settings, .. }) = &config.channels["support-sms"].kind else { panic!("not sms") };
    settings
}

const SMS: &str = r#"
[http]
public_url = "https://hooks.shop.example"
[channels.support-sms]
kind = "sms"
provider = "twilio"
account_sid = "AC00000000000000000000000000000000"
auth_token = { env = "TWILIO_AUTH_TOKEN" }
from = "+15005550006"
"#;

/// Each file in tests/config/bad holds one mistake, is named after it, and says in its first lines what is answered.
#[test]
fn every_bad_configuration_is_refused_with_its_message() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("tests/config/bad")).expect("the directory of mistakes") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let written = std::fs::read_to_string(&path).expect("a readable fixture");
        let expected: Vec<&str> = written.lines().map_while(|l| l.strip_prefix("#! ")).collect();
        assert!(!expected.is_empty(), "{} says no expected message", path.display());
        let error = load(Some(&path), &environment()).err().map(|e| e.problems).unwrap_or_default();
        let place = format!("{}:", path.display());
        let got: Vec<String> = error
            .iter()
            .map(|p| p.to_string().replacen(&place, "", 1).replace(&format!("{}/", root().display()), ""))
            .collect();
        assert_eq!(got, expected, "{}", path.display());
        assert!(error.iter().any(|p| p.severity == Severity::Error), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 30, "only {seen} mistakes");
}

#[test]
fn every_good_configuration_is_accepted() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("tests/config/good")).expect("the directory of good examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let expected: Vec<String> = std::fs::read_to_string(&path)
            .expect("a fixture")
            .lines()
            .map_while(|l| l.strip_prefix("#! ").map(str::to_owned))
            .collect();
        let config = load(Some(&path), &environment()).unwrap_or_else(|e| panic!("{}", e));
        let warnings: Vec<String> =
            config.warnings.iter().map(|p| p.to_string().replace(&format!("{}:", path.display()), "")).collect();
        assert_eq!(warnings, expected, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} examples");
}

#[test]
fn the_shipped_examples_load_without_a_warning() {
    for path in ["config/quickstart.toml", "config/production.toml"] {
        let config = load_at(path, &environment()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.warnings, vec![], "{path}");
    }
}

#[test]
fn no_configuration_means_the_quickstart_and_its_file_is_the_same() {
    let built_in = from_text(QUICKSTART, Source::Quickstart, &Environment::default()).expect("the quickstart loads");
    assert!(built_in.is_quickstart());
    assert_eq!(built_in.log.path, PathBuf::from("data"));
    assert!(built_in.http.listen.ip().is_loopback() && built_in.admin.listen.ip().is_loopback());
    assert_eq!(built_in.rules, None);
    assert_eq!(built_in.channels.keys().collect::<Vec<_>>(), ["site"]);
    let mut from_file = load_at("config/quickstart.toml", &Environment::default()).expect("the file loads");
    assert_eq!(from_file.log.path, root().join("config/data"));
    from_file.log.path = "data".into();
    from_file.source = Source::Quickstart;
    assert_eq!(format!("{from_file:?}"), format!("{built_in:?}"));
}

#[test]
fn the_flag_comes_before_the_variable() {
    let env = with(&[("SWITCHBOARD_CONFIG", "/from/env.toml")]);
    assert_eq!(find(Some(Path::new("flag.toml")), &env), Ok(Source::File("flag.toml".into())));
    assert_eq!(find(None, &env), Ok(Source::File("/from/env.toml".into())));
    let missing = load(Some(Path::new("/nowhere/x.toml")), &env).expect_err("no such file");
    assert!(missing.to_string().starts_with("/nowhere/x.toml: cannot be read:"), "{missing}");
}

#[test]
fn the_environment_overrides_the_file_and_values_take_the_fields_type() {
    let env = with(&[
        ("SWITCHBOARD__CHANNELS__SUPPORT_SMS__FROM", "+15005550001"),
        ("SWITCHBOARD__CHANNELS__SUPPORT_SMS__AUTH_TOKEN", "007"),
        ("SWITCHBOARD__CHANNELS__SUPPORT_SMS__ENABLED", "false"),
        ("SWITCHBOARD__HTTP__LISTEN", "127.0.0.1:0"),
        ("SWITCHBOARD__HTTP__MAX_CONNECTIONS", "100"),
        ("SWITCHBOARD__HTTP__TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
        ("SWITCHBOARD__LOGGING__LEVEL", "debug"),
        ("SWITCHBOARD_URL", "ignored"),
    ]);
    let config = text(SMS, &env).expect("a good configuration");
    let channel = &config.channels["support-sms"];
    let twilio = sms_settings(&config);
    assert_eq!(twilio.text("from"), Some("+15005550001"));
    assert_eq!(twilio.secrets("auth_token"), vec![switchboard_adapter_sdk::Secret::new("007")]);
    assert!(!channel.enabled);
    assert_eq!(config.http.listen.port(), 0);
    assert_eq!(config.http.max_connections, 100);
    assert_eq!(config.http.trusted_proxies.len(), 2);
    assert_eq!(config.logging.level, "debug");
    assert_eq!(config.warnings, vec![], "a secret in the environment is no literal in a file");
}

#[test]
fn a_variable_that_names_nothing_is_an_error_with_its_name() {
    for (name, says) in [
        ("SWITCHBOARD__CHANNELS__SUPORT_SMS__FROM", "did you mean `support-sms`?"),
        ("SWITCHBOARD__CHANNELS__TELEX__FROM", "write `[channels.telex]` in the file first"),
        ("SWITCHBOARD__HTTP__LISTN", "did you mean `listen`?"),
        ("SWITCHBOARD__HTPT__LISTEN", "did you mean `http`?"),
        ("SWITCHBOARD__HTTP", "is a table"),
        ("SWITCHBOARD__HTTP__", "names no key"),
        ("SWITCHBOARD__WORKSPACE__X", "is not a table"),
        ("SWITCHBOARD__SHUTDOWN__DRAIN", "is not a duration"),
    ] {
        let toml = format!("workspace = \"main\"\n{SMS}");
        let error = text(&toml, &with(&[(name, "+1")])).err().map(|e| e.to_string()).unwrap_or_default();
        let place = format!("environment variable {name}: ");
        assert!(error.lines().any(|l| l.starts_with(&place) && l.contains(says)), "{name}: {error}");
    }
}

#[test]
fn a_secret_from_the_environment_replaces_the_written_source() {
    let env = with(&[("SWITCHBOARD__CHANNELS__SUPPORT_SMS__AUTH_TOKEN__ENV", "OTHER"), ("OTHER", "other-token")]);
    let config = text(SMS, &env).expect("a good configuration");
    let twilio = sms_settings(&config);
    assert_eq!(twilio.secrets("auth_token"), vec![switchboard_adapter_sdk::Secret::new("other-token")]);
}

#[test]
fn a_secret_file_loses_its_line_end_and_a_credential_comes_from_its_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, "file-token\r\n").expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("private");
    let toml = SMS.replace("{ env = \"TWILIO_AUTH_TOKEN\" }", "[{ file = \"token\" }, { credential = \"token\" }]");
    let env = with(&[("CREDENTIALS_DIRECTORY", dir.path().to_str().expect("a path"))]);
    let config = from_text(&toml, Source::File(dir.path().join("s.toml")), &env).expect("a good configuration");
    let twilio = sms_settings(&config);
    assert_eq!(twilio.secrets("auth_token"), vec![switchboard_adapter_sdk::Secret::new("file-token"); 2]);
    assert_eq!(config.warnings, vec![]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("public");
    let config = from_text(&toml, Source::File(dir.path().join("s.toml")), &env).expect("a good configuration");
    assert!(config.warnings.iter().any(|w| w.message.contains("chmod 600")), "{:?}", config.warnings);
}

#[test]
fn no_secret_is_ever_shown() {
    let toml = format!(
        "{SMS}\nproxy = {{ env = \"PROXY_URL\" }}\napi_key = \"SK00000000000000000000000000000000\"\napi_secret = \"literal-api-secret\"\n[admin.tokens.ops]\ntoken = \"tok3n\"\nscopes = [\"admin\"]\n"
    );
    let config = text(&toml, &environment()).expect("a good configuration");
    let shown = format!("{config:?}{:?}", config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>());
    for secret in ["12345secret67890", "literal-api-secret", "tok3n", "hunter2"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    let broken = toml
        .replace("token = \"tok3n\"", "token = \"s3cret\\nline\"")
        .replace("literal-api-secret\"", "literal-api-secret\"\nfrom2 = 1");
    let error = text(&broken, &environment()).expect_err("broken");
    for secret in ["12345secret67890", "literal-api-secret", "s3cret", "hunter2"] {
        assert!(!error.to_string().contains(secret) && !format!("{error:?}").contains(secret), "{secret}");
    }
}

#[test]
fn every_error_is_reported_at_once_in_the_order_of_the_file() {
    let error = text("workspace = \"Main\"\n[http]\nlisten = \"x\"\nlistne = 1\n[admin]\nlisten = 8081\n[channels.a]\nkind = \"sms\"\n[channels.b]\nkind = \"fax\"\n", &environment()).expect_err("many errors");
    let lines: Vec<String> =
        error.to_string().lines().map(|l| l.split(": ").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(lines.first().map(String::as_str), Some("t.toml:1:13"));
    for place in ["t.toml:3:10", "t.toml:4:1", "t.toml:6:10", "t.toml:7:11", "t.toml:10:8"] {
        assert!(lines.iter().any(|l| l == place), "{place} is not in {lines:?}");
    }
    let mut sorted = error.problems.clone();
    sorted.sort();
    assert_eq!(sorted, error.problems);
}

#[test]
fn desks_are_read_like_channels_and_what_is_wrong_with_one_is_said() {
    let slack = "[desks.team]\nkind = \"slack\"\nbot_token = \"xoxb-1-abcdef\"\nchannel = \"C0SUPPORT\"\n";
    let config = text(&format!("{SMS}{slack}"), &environment()).expect("a desk");
    let rate = config.desks["team"].rate.expect("as fast as Slack takes it");
    assert!((rate.per_second() - 1.0).abs() < 0.01);
    assert_eq!(config.channels.len(), 1, "it is no channel");
    for (wrong, said) in [
        (slack.replace("C0SUPPORT", "#support"), "is no id of a channel"),
        (slack.replace("xoxb-1-abcdef", "https://hooks.slack.com/x"), "is no token of a bot"),
        (slack.replace("\"slack\"", "\"telegram\""), "kind `telegram` is a kind of channel: write it below `channels`"),
        (
            slack.replace("\"slack\"", "\"mattermost\""),
            "not built into this version yet: this version has `webhook` and `slack`",
        ),
        (slack.replace("desks.team", "desks.console"), "the daemon uses the name `console` itself"),
        (slack.replace("desks.team", "desks.support-sms"), "a channel has the id `support-sms` already"),
        (slack.replace("desks.team", "channels.team"), "kind `slack` is a kind of desk: write it below `desks`"),
        (format!("{slack}poll = \"5m\"\n"), "poll"),
    ] {
        let error = text(&format!("{SMS}{wrong}"), &environment()).expect_err(said).to_string();
        assert!(error.contains(said), "{said} is not in {error}");
    }
}

#[test]
fn a_desk_whose_notices_would_lead_nowhere_is_warned_of_once() {
    let slack =
        |id: &str| format!("[desks.{id}]\nkind = \"slack\"\nbot_token = \"xoxb-1-abcdef\"\nchannel = \"C0SUPPORT\"\n");
    let warned = |more: &str| {
        let config = text(&format!("{SMS}{more}"), &environment()).expect("a configuration");
        let said = config.warnings.iter().map(|w| w.to_string()).filter(|w| w.contains("admin.public_url"));
        said.collect::<Vec<_>>()
    };
    let said = warned(&format!("{}{}", slack("one"), slack("two")));
    assert!(said.len() == 1 && said[0].contains("has no link to the conversation"), "{said:?}");
    assert_eq!(warned(&format!("{}enabled = false\n", slack("one"))), Vec::<String>::new());
    let reached = "[admin]\npublic_url = \"https://desk.shop.example\"\n";
    assert_eq!(warned(&format!("{}{reached}", slack("one"))), Vec::<String>::new());
    assert_eq!(warned(""), Vec::<String>::new());
}

/// The schema knows exactly the keys that the reader asks for.
#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let production = std::fs::read_to_string(root().join("config/production.toml")).expect("the example");
    // The example is on the embedded log, where this kind is an error; its keys are read all the same.
    let external = "[channels.tg]\nkind = \"external\"\nlabel = \"telegram\"\n";
    let email = "[channels.mail]\nkind = \"email\"\naddress = \"a@b.example\"\nimap = {}\nsmtp = {}\ndelivery = {}\ndkim = {}\n";
    // Every provider is read once, however little of it is written.
    let every: String = switchboard_sms::PROVIDERS
        .iter()
        .map(|p| format!("[channels.every-{0}]\nkind = \"sms\"\nprovider = \"{0}\"\n", p.name))
        .collect();
    let products: String = switchboard_facebook::PRODUCTS
        .iter()
        .map(|p| format!("[channels.every-{0}]\nkind = \"facebook\"\nproduct = \"{0}\"\n", p.name))
        .collect();
    let twitter = "[channels.handle]\nkind = \"twitter\"\nlimits = {}\n";
    let telegram = "[channels.bot]\nkind = \"telegram\"\n";
    let desks = "[desks.one]\nkind = \"slack\"\n[desks.two]\nkind = \"webhook\"\n";
    let production = production.replace("# tls =", "tls =");
    let tls = format!("{production}\n{external}{email}{every}{products}{twitter}{telegram}{desks}");
    let Read { asked, .. } = read(&tls, Source::File(root().join("config/production.toml")), &environment());
    let schema = schema::config_schema();
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    walk(&schema, "", &mut documented);
    let asked: BTreeMap<String, BTreeSet<String>> =
        asked.into_iter().map(|(k, v)| (k, v.into_iter().map(str::to_owned).collect())).collect();
    assert_eq!(asked, documented);
}

fn walk(schema: &serde_json::Value, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) else { return };
    found.entry(path.to_owned()).or_default().extend(properties.keys().cloned());
    for (key, value) in properties {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        walk(value, &below, found);
        let Some(each) = value.get("additionalProperties") else { continue };
        walk(each, &format!("{below}.*"), found);
        for shape in each.get("oneOf").and_then(|o| o.as_array()).into_iter().flatten() {
            let kind = shape["properties"]["kind"]["const"].as_str().unwrap_or_default();
            let provider = shape["properties"]["provider"]["const"].as_str();
            let provider = provider.or_else(|| shape["properties"]["product"]["const"].as_str());
            let kind = provider.map_or_else(|| kind.to_owned(), |provider| format!("{kind}:{provider}"));
            walk(shape, &format!("{below}.*:{kind}"), found);
        }
    }
}

#[test]
fn the_committed_schema_is_the_one_that_is_printed() {
    let path = root().join("schema/config.schema.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let printed = format!("{:#}\n", schema::config_schema());
    assert!(committed == printed, "run `switchboard schema config > schema/config.schema.json`");
}

proptest! {
    #[test]
    fn no_text_panics(s in "\\PC{0,200}") {
        let _ = text(&s, &environment());
    }

    #[test]
    fn no_line_of_keys_panics(key in "[a-z_.\\-]{1,20}", value in "[\\[\\]{}\"'a-z0-9,=. ]{0,20}") {
        let _ = text(&format!("{SMS}{key} = {value}\n"), &environment());
    }
}
