//! A configured channel of mail, as the daemon knows it.

use crate::{
    address,
    compose::Identity,
    config::{self, EmailConfig, Login},
    delivery::{self, Protocol, Rules},
    events,
    ids::Keys,
    owner,
    read::Settings,
    smtp::Submission,
};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, Opened, RawRequest, Secret, Transport, Verdict,
    signature::{Mac, to_hex},
};
use switchboard_envelope::{Address, ChannelProfile, Inbound, Outcome, Raw, Send as SendRecord, Timestamp};

/// A mail server that is away, or says that it will take a mail later, is asked again for this long (RFC 5321 §4.5.4.1).
const PATIENCE_MS: i64 = 4 * 86_400_000;
/// One attempt, with its connection and files of 25 MiB.
const TIMEOUT_MS: i64 = 100_000;
/// Mails that are handed in at once: servers refuse whoever comes with many connections.
const CONNECTIONS: u32 = 8;

/// A support mailbox.
pub struct Email {
    config: EmailConfig,
    settings: Settings,
    identity: Identity,
    /// The other channels of mail, as far as a mail that comes here may be theirs.
    beside: Vec<Settings>,
}

impl Email {
    /// `key` is the workspace's own; what is signed for this channel is signed with one that comes of it.
    #[must_use]
    pub fn new(channel: &str, config: EmailConfig, key: &[u8]) -> Email {
        let settings = settings(channel, &config, key);
        let identity = Identity {
            address: config.address.clone(),
            name: config.name.clone(),
            domain: config.domain().to_owned(),
            keys: settings.keys.clone(),
            instance: settings.instance.clone(),
            tags: config.plus_addresses,
            above_line: config.reply_line,
            html: config.html,
            reply_all: config.reply_all,
            ours: config.ours.clone(),
            dkim: config.dkim.clone(),
        };
        Email { config, settings, identity, beside: vec![] }
    }

    /// The workspace's other channels of mail. What is written to them is not copied there; and a mail to several of us is taken
    /// for the one that it was written to, whichever mailbox has it first. Where only one of two channels is told who a sender
    /// is, each keeps what it gets: its mails would be believed by the other's rules.
    #[must_use]
    pub fn beside<'a>(mut self, others: impl IntoIterator<Item = (&'a str, &'a EmailConfig)>, key: &[u8]) -> Email {
        for (channel, config) in others.into_iter().filter(|(channel, _)| *channel != self.settings.channel) {
            self.identity.ours.extend(config.ours.iter().cloned());
            if config.trusted.is_empty() == self.config.trusted.is_empty() {
                let trusted = self.config.trusted.clone();
                let boundary = self.config.boundary.clone();
                self.beside.push(Settings { trusted, boundary, ..settings(channel, config, key) });
            }
        }
        // Which of two that claim one address is asked first must not depend on who asks.
        self.beside.sort_by(|a, b| a.channel.cmp(&b.channel));
        self
    }

    /// Whose mail it is.
    fn owner(&self, mail: &[u8]) -> &Settings {
        if self.beside.is_empty() || mail.len() > events::MAX_MAIL {
            return &self.settings;
        }
        let mut all: Vec<&Settings> = self.beside.iter().chain([&self.settings]).collect();
        all.sort_by(|a, b| a.channel.cmp(&b.channel));
        let found = catch_unwind(AssertUnwindSafe(|| owner::of(mail, &all))).ok().flatten();
        found.and_then(|at| all.get(at).copied()).unwrap_or(&self.settings)
    }

    #[must_use]
    pub fn config(&self) -> &EmailConfig {
        &self.config
    }

    /// What holds for who hands us mail.
    #[must_use]
    pub fn rules(&self, protocol: Protocol) -> Rules {
        Rules {
            protocol,
            name: self.config.domain().to_owned(),
            ours: self.config.ours.clone(),
            plus_addresses: self.config.plus_addresses,
            // The lines that say how it came are read with it.
            max_mail: self.config.max_mail.min(events::MAX_MAIL - delivery::MAX_TRACE),
        }
    }

    /// How it writes.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What hands our mails in, where that is configured.
    #[must_use]
    pub fn transport(&self) -> Option<Arc<dyn Transport>> {
        let server = self.config.smtp.clone()?;
        Some(Arc::new(Submission::new(server, self.identity.clone())))
    }

    /// What a mail says, with its files.
    #[must_use]
    pub fn read(&self, mail: &[u8], received_at: Timestamp) -> Opened {
        let found = events::events(mail, self.owner(mail), received_at);
        Opened { events: found.events, files: found.files.into_iter().map(|f| Bytes::from(f.bytes)).collect() }
    }

    /// A mail that the log does not take as it was read: its bytes, for the quarantine.
    #[must_use]
    pub fn refused(&self, mail: &[u8], why: &str, received_at: Timestamp) -> Opened {
        let found = events::unparsed(mail, &self.settings, received_at, why);
        Opened { events: found.events, files: vec![] }
    }

    /// A mail that its server does not give away. `place` names it there.
    #[must_use]
    pub fn not_given(&self, place: &str, why: &str, received_at: Timestamp) -> Inbound {
        events::not_given(place, why, &self.settings, received_at)
    }

    /// A mail of which only the head was fetched, because of its size.
    #[must_use]
    pub fn too_large(&self, head: &[u8], size: u64, received_at: Timestamp) -> Inbound {
        events::too_large(head, size, self.config.max_mail, &self.settings, received_at)
    }
}

/// What a channel knows when it reads, with what it signs with.
fn settings(channel: &str, config: &EmailConfig, key: &[u8]) -> Settings {
    let mac = Mac::sha256(key);
    let derived = |purpose: &str| to_hex(&mac.sign_parts(&[purpose.as_bytes(), b"\0", channel.as_bytes()]));
    Settings {
        channel: channel.to_owned(),
        addresses: config.ours.clone(),
        trusted: config.trusted.clone(),
        boundary: config.boundary.clone(),
        keys: Keys::new(&[Secret::new(derived("mail"))]),
        // Not a secret: every mail of ours shows it.
        instance: derived("instance").chars().take(20).collect(),
    }
}

const NO_REQUESTS: &str = "mail does not come by webhook";

impl Adapter for Email {
    fn credential_files(&self) -> Vec<PathBuf> {
        let Some(server) = &self.config.smtp else { return vec![] };
        let login = match &server.account {
            Some((_, Login::Password(password))) => password.file(),
            Some((_, Login::TokenFile(file))) => Some(file.as_path()),
            Some((_, Login::TokenCommand(_))) | None => None,
        };
        login.into_iter().chain(server.ca.as_deref()).map(Path::to_owned).collect()
    }

    fn profile(&self) -> ChannelProfile {
        ChannelProfile {
            mail: true,
            proactive: true,
            not_after_ms: PATIENCE_MS,
            send_timeout_ms: TIMEOUT_MS,
            in_flight: CONNECTIONS,
            ..ChannelProfile::new("email", "email")
        }
    }

    fn verify(&self, _request: &RawRequest) -> Verdict {
        Verdict::Forged(NO_REQUESTS.into())
    }

    fn parse(&self, _request: &RawRequest) -> Vec<Inbound> {
        vec![]
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        self.reopen(raw, body, received_at).events
    }

    fn reopen(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Opened {
        if let Some(why) = raw.meta.get(events::NOT_GIVEN) {
            let place = String::from_utf8_lossy(&body);
            return Opened { events: vec![self.not_given(&place, why, received_at)], files: vec![] };
        }
        match raw.meta.get(events::WHOLE_SIZE).and_then(|size| size.parse().ok()) {
            // Its head says nothing new, however often it is read.
            Some(size) => Opened { events: vec![self.too_large(&body, size, received_at)], files: vec![] },
            None => self.read(&body, received_at),
        }
    }

    fn reaches(&self, to: &Address) -> Result<(), String> {
        if config::is_address(&to.value) {
            Ok(())
        } else {
            Err("this is not a mail address: write it as ann@example.org".into())
        }
    }

    fn canonical(&self, to: Address) -> Address {
        Address { value: address::canonical(&to.value), ..to }
    }

    fn encode(&self, _send: &SendRecord) -> Result<Call, AttemptOutcome> {
        let detail = format!("not sent: channel `{}` has no `smtp` configured", self.settings.channel);
        Err(AttemptOutcome { detail: Some(detail), ..AttemptOutcome::new(Outcome::Rejected) })
    }

    fn classify(&self, _send: &SendRecord, _answer: &Answer, _now: Timestamp) -> AttemptOutcome {
        AttemptOutcome::new(Outcome::Unknown)
    }
}
