//! Rules are judged by what the router knows of a channel, wherever they are judged.

use super::*;
use std::collections::BTreeMap;
use std::fs;

const CONFIG: &str = r#"
[log]
backend = "nats"
servers = ["nats://127.0.0.1:4222"]
[channels.crm]
kind = "webhook"
url = "https://crm.example/in"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
[channels.shop]
kind = "webhook"
url = "https://shop.example/in"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
address_kind = "customer"
enabled = false
[channels.tg]
kind = "external"
label = "telegram"
[channels.site]
kind = "webchat"
cost = 2
"#;

const PACK: &str = "
queues: { everyone: {}, ours: {} }
rules:
  - name: Ann
    when: { contact.identities: 'crm:ann' }
    then: { queue: ours }
  - name: Telegram
    when: { kind: telegram }
    then: { queue: ours }
default: { queue: everyone }
";

const TESTS: &str = "
tests:
  - { name: Ann, message: { channel: crm, from: ann }, expect: { queue: ours } }
  - { name: Bob, message: { channel: crm, from: bob }, expect: { queue: everyone } }
  - name: Ann is known by a number, too
    message: { channel: crm, from: ann }
    given: { contact: { identities: ['phone:+15551230001'] } }
    expect: { queue: ours }
  - { name: Telegram, message: { channel: tg }, expect: { queue: ours } }
";

fn config() -> crate::config::Config {
    crate::config::from_text(CONFIG, crate::config::Source::Quickstart, &Environment::default()).expect("valid")
}

#[test]
fn no_pack_is_judged_by_other_kinds_than_the_routers() {
    let known = packs::environment(&config());
    let shown = |of: &BTreeMap<String, String>| {
        of.iter().map(|(id, kind)| format!("{id} {kind}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown(&known.address_kinds), "crm crm, shop customer, site visitor, tg telegram");
    assert_eq!(
        known.costs,
        [("crm", 100), ("shop", 100), ("site", 200), ("tg", 100)].map(|(id, cost)| (id.to_owned(), cost)).into()
    );
    assert_eq!(
        known.channels.as_ref().map(shown).as_deref(),
        Some("crm webhook, shop webhook, site webchat, tg telegram")
    );

    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("pack.yaml"), PACK).expect("written");
    fs::write(dir.path().join("pack_test.yaml"), TESTS).expect("written");
    let mut screen = Screen::of_test(None);
    let done = test(&crate::packs::Source::Path(dir.path().into()), &known, &mut screen);
    assert_eq!(done, Ok(()), "{:?}", screen.kept);
}

#[test]
fn a_message_of_an_external_channel_is_explained_by_its_label() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("pack.yaml"), PACK).expect("written");
    let envelope = include_str!("../../docs/message.json").replace("\"site", "\"tg");
    let file = dir.path().join("message.json");
    fs::write(&file, envelope).expect("written");
    let config = crate::config::Config { rules: Some(dir.path().to_owned()), ..config() };
    let mut screen = Screen::of_test(None);
    explain::of_file(&file, &config, false, &mut screen).expect("explained");
    let said = screen.kept.unwrap_or_default();
    assert!(said.contains("+ Telegram") && said.contains("queue ours"), "{said}");
}
