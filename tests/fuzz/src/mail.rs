//! Any bytes are a mail: one valid event at least, a file for every attachment, the same events each time, and never a parser that
//! failed.

use std::sync::LazyLock;
use switchboard_email::{Email, EmailConfig};
use switchboard_envelope::{Inbound, Timestamp};

const NOW: Timestamp = Timestamp(1_795_298_400_000);

static CHANNEL: LazyLock<Email> = LazyLock::new(|| {
    let ours = vec!["support@desk.example".to_owned(), "sales@desk.example".to_owned()];
    let config = EmailConfig {
        address: "support@desk.example".into(),
        name: None,
        ours,
        plus_addresses: true,
        reply_line: true,
        html: true,
        trusted: ["mx.desk.example", "mx.google.com", "mail.protection.outlook.com"].map(str::to_owned).to_vec(),
        boundary: vec!["edge.desk.example".into()],
        max_mail: 50 << 20,
        imap: None,
        delivery: None,
        smtp: None,
        reply_all: true,
        dkim: None,
    };
    Email::new("support-email", config, &[7; 32])
});

/// Reads bytes as a mail.
pub fn is_read(mail: &[u8]) {
    let found = CHANNEL.read(mail, NOW);
    assert!(!found.events.is_empty());
    for event in &found.events {
        event.validate().expect("what is read is valid");
        match event {
            Inbound::Message(m) => assert_eq!(m.content.attachments.len(), found.files.len()),
            Inbound::Echo(e) => assert_eq!(e.content.attachments.len(), found.files.len()),
            Inbound::Unparsed(u) => panic!("{}", u.reason),
            _ => {}
        }
    }
    assert_eq!(CHANNEL.read(mail, NOW).events, found.events);
}
