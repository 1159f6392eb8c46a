use super::*;
use switchboard_adapter_sdk::settings::Value;

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn settings() -> Settings {
    let mut settings = Settings::new("mail", None)
        .with("address", text("Support@Shop.example"))
        .with("imap.host", text("imap.shop.example"))
        .with("imap.user", text("support"))
        .with("imap.password", Value::Secrets(vec![Secret::new("p")]));
    settings.written("imap");
    settings
}

#[test]
fn what_is_not_written_has_its_usual_value() {
    let config = EmailConfig::read(&settings()).expect("it is complete");
    assert_eq!(config.ours, ["support@shop.example"]);
    assert!(config.plus_addresses && !config.reply_line && config.smtp.is_none());
    assert_eq!((config.max_mail, config.domain()), (25 * 1024 * 1024, "Shop.example"));
    let imap = config.imap.expect("a mailbox");
    assert_eq!((imap.mailbox.as_str(), imap.mark, imap.move_to, imap.only_new), ("INBOX", Mark::Keyword, None, false));
    assert_eq!((imap.server.port, imap.server.tls), (993, Tls::Implicit));
}

#[test]
fn a_port_follows_from_the_kind_of_tls() {
    for (table, tls, port) in
        [("imap", "starttls", 143), ("imap", "implicit", 993), ("smtp", "implicit", 465), ("smtp", "starttls", 587)]
    {
        let mut settings =
            settings().with("smtp.host", text("smtp.shop.example")).with(&format!("{table}.tls"), text(tls));
        settings.written("smtp");
        let config = EmailConfig::read(&settings).expect("it is complete");
        let server = if table == "imap" { config.imap.map(|i| i.server) } else { config.smtp };
        assert_eq!(server.expect("a server").port, port, "{table} {tls}");
    }
}

#[test]
fn a_listener_can_stand_in_the_place_of_a_mailbox_and_hears_this_machine_only() {
    let mut settings = Settings::new("mail", None)
        .with("address", text("a@b.example"))
        .with("delivery.listen", text("127.0.0.1:2424"));
    settings.written("delivery");
    let delivery = EmailConfig::read(&settings).expect("it is complete").delivery.expect("a listener");
    assert_eq!((delivery.protocol, delivery.peers.len()), (Protocol::Lmtp, 2));
    assert!(delivery.peers.iter().all(IpAddr::is_loopback));
    let settings =
        settings.with("delivery.peers", Value::Words(vec!["192.0.2.7".into()])).with("delivery.protocol", text("smtp"));
    let delivery = EmailConfig::read(&settings).expect("it is complete").delivery.expect("a listener");
    assert_eq!((delivery.protocol, delivery.peers), (Protocol::Smtp, vec!["192.0.2.7".parse().unwrap()]));
}

#[test]
fn nothing_crosses_a_network_in_the_clear() {
    for (host, good) in [
        ("imap.shop.example", false),
        ("10.0.0.1", false),
        ("127.0.0.1", true),
        ("::1", true),
        ("localhost", true),
        ("localhost.evil.example", false),
    ] {
        let read = EmailConfig::read(&settings().with("imap.host", text(host)).with("imap.tls", text("none")));
        assert_eq!(read.is_ok(), good, "{host}");
    }
}

#[test]
fn what_can_be_no_address_is_told_from_what_can() {
    for good in ["a@b.example", "support@münchen.example", "x'y@b.example", "a@[127.0.0.1]"] {
        assert_eq!(is_address(good), good != "a@[127.0.0.1]", "{good}");
    }
    for bad in [
        "",
        "@",
        "a@",
        "@b",
        "a b@c.d",
        "a@b@c.d",
        "<a@b.c>",
        "a@b.c\r\nBcc: x@y.z",
        "a@b..c",
        ".a@b.c",
        "a.@b.c",
        "a,b@c.d",
        "a@-b.c",
        "a\u{0}@b.c",
    ] {
        assert!(!is_address(bad), "{bad:?}");
    }
    assert!(!is_address(&format!("{}@b.example", "a".repeat(65))));
}
