//! Channels: what every kind takes, then what each kind takes.

use super::declared;
use super::problem::{Place, nearest};
use super::reader::{Reader, Section};
use super::values::{Rate, colour, duration, duration_within, is_loopback, line, origin, proxy, rate, size_within};
use crate::registry::{self, DESKS, REGISTRY};
use std::collections::BTreeMap;
use std::time::Duration;
use switchboard_adapter_sdk::{Kind, Secret, Settings};
use switchboard_email::EmailConfig;
use switchboard_webchat::{Limits, Side, WebchatConfig};

/// The kinds of channel that need code of their own to be read; others declare themselves in the [registry](crate::registry).
const KINDS: [&str; 6] = ["email", "facebook", "sms", "webchat", "webhook", "external"];
/// The kinds that the documentation names and a later version will have.
const LATER: [&str; 1] = ["mattermost"];
/// The kinds of desk that are kinds of channel too.
const BOTH: [&str; 1] = ["webhook"];
/// Names under which the daemon itself writes records.
const RESERVED: [&str; 2] = ["api", "router"];

/// Every kind of channel that this version has.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter().chain(REGISTRY.iter().map(|kind| kind.name))
}

/// Every kind of desk that this version has.
pub fn desk_kinds() -> impl Iterator<Item = &'static str> {
    BOTH.into_iter().chain(DESKS.iter().map(|kind| kind.name))
}

/// What is done about a webhook whose signature does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// It is refused.
    Enforce,
    /// It is accepted and counted: for finding out what a proxy changes, never for good.
    Report,
}

/// One channel. What is not written is the adapter's own default.
#[derive(Clone, Debug)]
pub struct ChannelConfig {
    pub enabled: bool,
    pub rate: Option<Rate>,
    /// How long one call to the provider may take.
    pub send_timeout: Option<Duration>,
    /// How long after its acceptance a reply may still be sent.
    pub not_after: Option<Duration>,
    /// Time between catch-up polls; `None` when the channel is not polled.
    pub poll: Option<Duration>,
    pub signatures: Signatures,
    /// Send again what may have been sent: it leaves the promise that nothing is sent twice.
    pub resend_unknown: bool,
    /// The proxy's address for calls to the provider; it may hold a password.
    pub proxy: Option<Secret>,
    pub kind: ChannelKind,
}

/// What a kind takes beside that.
#[derive(Clone, Debug)]
pub enum ChannelKind {
    Email(Box<EmailConfig>),
    Facebook(FacebookConfig),
    Sms(SmsConfig),
    Webchat(WebchatConfig),
    Webhook(WebhookConfig),
    External(ExternalConfig),
    /// One that declares itself.
    Declared(DeclaredConfig),
}

impl ChannelKind {
    /// What configuration and rules call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            ChannelKind::Email(_) => "email",
            ChannelKind::Facebook(_) => "facebook",
            ChannelKind::Sms(_) => "sms",
            ChannelKind::Webchat(_) => "webchat",
            ChannelKind::Webhook(_) => "webhook",
            ChannelKind::External(_) => "external",
            ChannelKind::Declared(declared) => declared.kind.name,
        }
    }
}

/// A kind of the registry, and what it declared that it takes.
#[derive(Clone, Debug)]
pub struct DeclaredConfig {
    pub kind: &'static Kind,
    pub settings: Settings,
}

/// A product of Meta's, and what it declared that it takes.
#[derive(Clone, Debug)]
pub struct FacebookConfig {
    pub product: &'static switchboard_facebook::Product,
    pub settings: Settings,
}

/// Text messages: a provider, and what it declared that it takes.
#[derive(Clone, Debug)]
pub struct SmsConfig {
    pub provider: &'static switchboard_sms::Provider,
    pub settings: Settings,
}

#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where messages are posted.
    pub url: String,
    /// Each signs what goes out, and may have signed what comes in.
    pub secrets: Vec<Secret>,
    /// The `kind` of its customers' addresses; the channel's id by default.
    pub address_kind: Option<String>,
}

/// A channel whose adapter is another process, on the same broker.
#[derive(Clone, Debug)]
pub struct ExternalConfig {
    /// What rules call its `kind`.
    pub label: String,
    /// The `kind` of its customers' addresses; the label by default.
    pub address_kind: Option<String>,
    /// The longest text of one message, in characters.
    pub max_text: Option<u32>,
    /// A conversation may start from our side.
    pub proactive: bool,
}

/// What channels need to know of the rest of the configuration.
pub(super) struct Around<'a> {
    pub public_url: Option<&'a str>,
    /// It is written where people of ours reach the console.
    pub console: bool,
    pub on_nats: bool,
}

pub(super) fn read(r: &mut Reader<'_>, root: &mut Section, around: &Around<'_>) -> BTreeMap<String, ChannelConfig> {
    let mut channels = BTreeMap::new();
    for (id, mut section) in root.by_id(r, "channels") {
        if RESERVED.contains(&id.as_str()) {
            r.error(&section.place, format!("`channels.{id}`: the daemon uses the name `{id}` itself: choose another"));
        }
        let Some(kind) = kind(r, &mut section, Whose::Customers) else {
            section.ignore_rest();
            continue;
        };
        section.variant(kind);
        if let Some(channel) = channel(r, &mut section, kind, &id, around) {
            channels.insert(id, channel);
        }
        section.finish(r);
    }
    channels
}

/// Whose place it is that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Customers,
    Ours,
}

impl Whose {
    fn kinds(self) -> Vec<&'static str> {
        match self {
            Whose::Customers => kinds().collect(),
            Whose::Ours => desk_kinds().collect(),
        }
    }

    /// Where a kind belongs that is none of these.
    fn elsewhere(self, written: &str) -> Option<&'static str> {
        match self {
            Whose::Customers => desk_kinds().any(|k| k == written).then_some("of desk: write it below `desks`"),
            Whose::Ours => kinds().any(|k| k == written).then_some("of channel: write it below `channels`"),
        }
    }
}

/// Where people of ours are told: as channels, without what is only for what comes in.
pub(super) fn read_desks(
    r: &mut Reader<'_>,
    root: &mut Section,
    around: &Around<'_>,
    channels: &BTreeMap<String, ChannelConfig>,
) -> BTreeMap<String, ChannelConfig> {
    let mut desks = BTreeMap::new();
    let mut leads_nowhere = None;
    for (id, mut section) in root.by_id(r, "desks") {
        if id == "console" || RESERVED.contains(&id.as_str()) {
            r.error(&section.place, format!("`desks.{id}`: the daemon uses the name `{id}` itself: choose another"));
        }
        if channels.contains_key(&id) {
            r.error(&section.place, format!("`desks.{id}`: a channel has the id `{id}` already: choose another"));
        }
        let Some(kind) = kind(r, &mut section, Whose::Ours) else {
            section.ignore_rest();
            continue;
        };
        section.variant(kind);
        if let Some(desk) = desk(r, &mut section, kind, &id, around) {
            if desk.enabled && !around.console {
                leads_nowhere.get_or_insert_with(|| section.place.clone());
            }
            desks.insert(id, desk);
        }
        section.finish(r);
    }
    if let Some(place) = leads_nowhere {
        r.warn(&place, "`admin.public_url` is missing, so what desks are told has no link to the conversation, nor to its files: write the address under which agents reach the console");
    }
    desks
}

fn desk(
    r: &mut Reader<'_>,
    s: &mut Section,
    kind: &'static str,
    id: &str,
    around: &Around<'_>,
) -> Option<ChannelConfig> {
    let common = common(r, s);
    let (kind, usual_rate) = match kind {
        "webhook" => (ChannelKind::Webhook(webhook(r, s, id)?), None),
        other => {
            let kind = registry::kind(other)?;
            (ChannelKind::Declared(declared_kind(r, s, kind, id, around.public_url)?), kind.rate)
        }
    };
    let rate = common.rate.or_else(|| usual_rate.and_then(|written| rate(written).ok()));
    Some(ChannelConfig { rate, ..common.of(kind) })
}

/// What channels and desks of every kind take.
struct Common {
    enabled: bool,
    rate: Option<Rate>,
    send_timeout: Option<Duration>,
    not_after: Option<Duration>,
    resend_unknown: bool,
    proxied: Option<Place>,
    proxy: Option<Secret>,
}

impl Common {
    fn of(self, kind: ChannelKind) -> ChannelConfig {
        ChannelConfig {
            enabled: self.enabled,
            rate: self.rate,
            send_timeout: self.send_timeout,
            not_after: self.not_after,
            poll: None,
            signatures: Signatures::Enforce,
            resend_unknown: self.resend_unknown,
            proxy: self.proxy,
            kind,
        }
    }
}

fn common(r: &mut Reader<'_>, s: &mut Section) -> Common {
    Common {
        enabled: s.boolean(r, "enabled").unwrap_or(true),
        rate: s.get(r, "rate", rate),
        send_timeout: s.get(r, "send_timeout", duration_within("1s", "2m")),
        not_after: s.get(r, "not_after", duration_within("1m", "30d")),
        resend_unknown: s.boolean(r, "resend_unknown").unwrap_or(false),
        proxied: s.place_of("proxy"),
        proxy: proxy_secret(r, s),
    }
}

fn kind(r: &mut Reader<'_>, s: &mut Section, whose: Whose) -> Option<&'static str> {
    let example = if whose == Whose::Ours { "\"slack\"" } else { "\"webchat\"" };
    s.required(r, "kind", example, |written| {
        let kinds = whose.kinds();
        let all: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        let has = match all.split_last() {
            Some((last, others)) => format!("this version has {} and {last}", others.join(", ")),
            None => String::new(),
        };
        if let Some(kind) = kinds.iter().find(|kind| **kind == written) {
            Ok(*kind)
        } else if let Some(belongs) = whose.elsewhere(written) {
            Err(format!("kind `{written}` is a kind {belongs}"))
        } else if LATER.contains(&written) {
            Err(format!("kind `{written}` is not built into this version yet: {has}"))
        } else if let Some(near) = nearest(written, kinds.iter().copied()) {
            Err(format!("unknown kind `{written}`: did you mean `{near}`?"))
        } else {
            Err(format!("unknown kind `{written}`: {has}"))
        }
    })
}

fn channel(
    r: &mut Reader<'_>,
    s: &mut Section,
    kind: &'static str,
    id: &str,
    around: &Around<'_>,
) -> Option<ChannelConfig> {
    let common = common(r, s);
    let enabled = common.enabled;
    let poll = s.get(r, "poll", |v| match v {
        "off" => Ok(None),
        other => match duration_within("10s", "1d")(other) {
            Ok(d) => Ok(Some(d)),
            Err(e) if duration(other).is_ok() => Err(e),
            Err(_) => Err(format!("`{other}` is not a time between polls: write `5m`, or `off`")),
        },
    });
    let signatures = s.choice(r, "signatures", &[("enforce", Signatures::Enforce), ("report", Signatures::Report)]);
    let proxied = common.proxied.clone();
    let (kind, usual_poll) = match kind {
        "sms" => {
            let public_url = around.public_url.filter(|_| enabled);
            (ChannelKind::Sms(sms(r, s, id, public_url, enabled)?), Some(Duration::from_secs(300)))
        }
        "email" => {
            (ChannelKind::Email(Box::new(email(r, s, id, proxied)?)), Some(switchboard_email::config::USUAL_POLL))
        }
        "facebook" => (ChannelKind::Facebook(facebook(r, s, id, around.public_url)?), None),
        "webhook" => (ChannelKind::Webhook(webhook(r, s, id)?), None),
        "external" => (ChannelKind::External(external(r, s, around.on_nats)?), None),
        "webchat" => (ChannelKind::Webchat(webchat(r, s)), None),
        other => {
            let kind = registry::kind(other)?;
            (ChannelKind::Declared(declared_kind(r, s, kind, id, around.public_url)?), kind.poll)
        }
    };
    let usual_rate = registry::kind(kind.name()).and_then(|kind| kind.rate);
    let rate = common.rate.or_else(|| usual_rate.and_then(|written| rate(written).ok()));
    Some(ChannelConfig {
        rate,
        poll: poll.unwrap_or(usual_poll),
        signatures: signatures.unwrap_or(Signatures::Enforce),
        ..common.of(kind)
    })
}

/// A proxy's address is written plainly, unless it holds a password.
fn proxy_secret(r: &mut Reader<'_>, s: &mut Section) -> Option<Secret> {
    let Some(place) = s.place_of("proxy") else {
        return s.secret(r, "proxy");
    };
    let secret = if s.is_plain("proxy") {
        let url = s.get(r, "proxy", |v| Ok(v.to_owned()))?;
        if url.contains('@') {
            r.warn(&place, format!("{} holds a password: write `{{ env = \"NAME\" }}`, `{{ file = \"path\" }}` or `{{ credential = \"name\" }}`", s.name("proxy")));
        }
        Secret::new(url)
    } else {
        s.secret(r, "proxy")?
    };
    match proxy(secret.expose()) {
        Ok(()) => Some(secret),
        Err(e) => {
            r.error(&place, format!("{} {e}", s.name("proxy")));
            None
        }
    }
}

fn email(r: &mut Reader<'_>, s: &mut Section, id: &str, proxied: Option<Place>) -> Option<EmailConfig> {
    let mut settings = Settings::new(id, None);
    let mut places = declared::Places::new();
    let before = r.errors();
    let unproved = s.place_of("authentication_results").is_none();
    let address = s.place_of("address");
    declared::read(r, s, switchboard_email::config::KEYS, "", &mut settings, &mut places);
    if let Some(place) = proxied {
        r.error(&place, format!("{} must not be written: mail servers are not reached by way of a proxy for HTTP; allow this machine to connect to them", s.name("proxy")));
    }
    let complete = r.errors() == before;
    match EmailConfig::read(&settings) {
        Ok(config) => {
            if unproved && let Some(place) = address {
                r.warn(&place, format!("{} is missing, so no sender is ever proved: write the names under which your mail servers write `Authentication-Results`", s.name("authentication_results")));
            }
            complete.then_some(config)
        }
        Err(problems) => {
            problems.iter().for_each(|p| declared::report(r, s, &places, p));
            None
        }
    }
}

fn declared_kind(
    r: &mut Reader<'_>,
    s: &mut Section,
    kind: &'static Kind,
    id: &str,
    public_url: Option<&str>,
) -> Option<DeclaredConfig> {
    let mut settings = Settings::new(id, public_url);
    let mut places = declared::Places::new();
    let before = r.errors();
    declared::read(r, s, kind.keys, "", &mut settings, &mut places);
    let complete = r.errors() == before;
    let mut problems = (kind.check)(&settings);
    if complete && problems.is_empty() {
        problems = (kind.build)(&settings).err().unwrap_or_default();
    }
    problems.iter().for_each(|p| declared::report(r, s, &places, p));
    (complete && problems.is_empty()).then_some(DeclaredConfig { kind, settings })
}

fn facebook(r: &mut Reader<'_>, s: &mut Section, id: &str, public_url: Option<&str>) -> Option<FacebookConfig> {
    let written = s.has("product");
    let products: Vec<_> = switchboard_facebook::PRODUCTS.iter().map(|product| (product.name, *product)).collect();
    let chosen = s.choice(r, "product", &products);
    let usual = || switchboard_facebook::product(switchboard_facebook::USUAL).filter(|_| !written);
    let Some(product) = chosen.or_else(usual) else {
        s.forget_rest();
        return None;
    };
    s.variant(product.name);
    let mut settings = Settings::new(id, public_url);
    let mut places = declared::Places::new();
    let before = r.errors();
    declared::read(r, s, product.keys, "", &mut settings, &mut places);
    declared::read(r, s, switchboard_facebook::COMMON, "", &mut settings, &mut places);
    let complete = r.errors() == before;
    let mut problems = switchboard_facebook::check(&settings);
    if complete && problems.is_empty() {
        problems = switchboard_facebook::build(product, &settings).err().unwrap_or_default();
    }
    problems.iter().for_each(|p| declared::report(r, s, &places, p));
    (complete && problems.is_empty()).then_some(FacebookConfig { product, settings })
}

fn sms(r: &mut Reader<'_>, s: &mut Section, id: &str, public_url: Option<&str>, enabled: bool) -> Option<SmsConfig> {
    let names = || switchboard_sms::PROVIDERS.iter().map(|p| p.name);
    let provider = s.required(r, "provider", "\"twilio\"", |v| {
        switchboard_sms::provider(v).ok_or_else(|| match nearest(v, names()) {
            Some(near) => format!("unknown provider `{v}`: did you mean `{near}`?"),
            None => {
                let all: Vec<_> = names().map(|name| format!("`{name}`")).collect();
                format!("unknown provider `{v}`: this version has {}", all.join(", "))
            }
        })
    });
    let Some(provider) = provider else {
        s.forget_rest();
        return None;
    };
    s.variant(provider.name);
    let mut settings = Settings::new(id, public_url);
    let mut places = declared::Places::new();
    let before = r.errors();
    declared::read(r, s, provider.keys, "", &mut settings, &mut places);
    declared::read(r, s, switchboard_sms::COMMON, "", &mut settings, &mut places);
    let complete = r.errors() == before;
    let mut problems = switchboard_sms::check(provider, &settings);
    // Where it runs is of no matter while it does not.
    problems.retain(|p| enabled || p.key != "public_url");
    if complete && enabled && problems.is_empty() {
        problems = switchboard_sms::build(provider, &settings).err().unwrap_or_default();
    }
    problems.iter().for_each(|p| declared::report(r, s, &places, p));
    (complete && problems.is_empty()).then_some(SmsConfig { provider, settings })
}

fn webhook(r: &mut Reader<'_>, s: &mut Section, id: &str) -> Option<WebhookConfig> {
    s.need(r, "url", "\"https://crm.shop.example/switchboard\"");
    let url = s.placed(r, "url", |v| switchboard_webhook::endpoint(v).map(|_| v.to_owned()));
    if let Some(u) = url.as_ref().filter(|u| u.value.starts_with("http:") && !is_loopback(&u.value)) {
        r.warn(
            &u.place,
            // A query may hold a key.
            format!(
                "{} is `{}`: customers' messages would travel unencrypted; write `https`",
                s.name("url"),
                u.value.split('?').next().unwrap_or_default()
            ),
        );
    }
    let place = s.place_of("secret").unwrap_or_else(|| s.place.clone());
    let secrets = s.required_secrets(r, "secret");
    for secret in &secrets {
        if let Err(e) = switchboard_webhook::SigningKey::parse(secret.expose()) {
            r.error(&place, format!("{} {e}: make one with `echo whsec_$(openssl rand -base64 32)`", s.name("secret")));
        }
    }
    let written = s.has("address_kind");
    let address_kind = s.get(r, "address_kind", switchboard_webhook::address_kind_of);
    if !written && switchboard_webhook::address_kind_of(id).is_err() {
        r.error(
            &s.place,
            format!(
                "{} is missing: the channel's id is too long to stand for it; write `address_kind = \"customer\"`",
                s.name("address_kind")
            ),
        );
    }
    if secrets.is_empty() {
        return None;
    }
    Some(WebhookConfig { url: url?.value, secrets, address_kind })
}

fn external(r: &mut Reader<'_>, s: &mut Section, on_nats: bool) -> Option<ExternalConfig> {
    if !on_nats {
        r.error(
            &s.place,
            format!("`{}`: an adapter in another process meets the daemon on a broker: set `backend = \"nats\"` under [log]", s.path),
        );
    }
    let name = |v: &str| {
        switchboard_webhook::address_kind_of(v)
            .map_err(|_| format!("`{v}` is not a name: write 1 to 32 of a-z, 0-9, `-` and `_`"))
    };
    let label = s.required(r, "label", "\"telegram\"", name);
    let address_kind = s.get(r, "address_kind", name);
    let max_text = s.integer(r, "max_text", 1..=1_000_000).and_then(|n| u32::try_from(n).ok());
    let proactive = s.boolean(r, "proactive").unwrap_or(false);
    Some(ExternalConfig { label: label?, address_kind, max_text, proactive })
}

fn webchat(r: &mut Reader<'_>, s: &mut Section) -> WebchatConfig {
    let usual = WebchatConfig::default();
    let origins = origins(r, s);
    let limits = if s.has("limits") { s.section(r, "limits") } else { None };
    let limits = limits.unwrap_or_else(|| s.absent("limits"));
    WebchatConfig {
        origins,
        title: s.get(r, "title", line(60)),
        greeting: s.get(r, "greeting", line(400)),
        color: s.get(r, "color", colour).unwrap_or(usual.color),
        side: s.choice(r, "side", &[("right", Side::Right), ("left", Side::Left)]).unwrap_or(usual.side),
        language: s.choice(r, "language", &["en", "de", "fr", "es", "pl"].map(|l| (l, l))).map(str::to_owned),
        demo: s.boolean(r, "demo").unwrap_or(usual.demo),
        uploads: s.boolean(r, "uploads").unwrap_or(usual.uploads),
        cost: s.number(r, "cost", 0.0, 100.0).unwrap_or(usual.cost),
        token_days: s
            .integer(r, "token_days", 1..=3650)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(usual.token_days),
        limits: chat_limits(r, limits),
        identity_secrets: s.secrets(r, "identity_secret"),
    }
}

fn origins(r: &mut Reader<'_>, s: &mut Section) -> Vec<String> {
    let mut origins: Vec<String> = vec![];
    for o in s.list(r, "origins", origin).unwrap_or_default() {
        if origins.contains(&o.value) {
            r.warn(&o.place, format!("{}: `{}` is listed twice", s.name("origins"), o.value));
            continue;
        }
        if o.value.starts_with("http:") && !is_loopback(&o.value) {
            r.warn(
                &o.place,
                format!("{}: `{}` is unencrypted: write `https` if the site has it", s.name("origins"), o.value),
            );
        }
        origins.push(o.value);
    }
    origins
}

/// What one visitor, and all of them, may use.
fn chat_limits(r: &mut Reader<'_>, mut s: Section) -> Limits {
    let usual = Limits::default();
    let mut count = |key: &'static str, most: u64, usual: u32| {
        s.integer(r, key, 1..=most).and_then(|n| u32::try_from(n).ok()).unwrap_or(usual)
    };
    let (rate, burst) = (count("rate", 1000, usual.rate), count("burst", 10_000, usual.burst));
    let text = count("text", 4000, usual.text);
    let sockets_per_visitor = count("sockets_per_visitor", 100, usual.sockets_per_visitor);
    let sockets = count("sockets", 1_000_000, usual.sockets);
    let file_bytes = s
        .get(r, "file_bytes", size_within("1KiB", "10MiB"))
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(usual.file_bytes);
    s.finish(r);
    Limits { rate, burst, text, file_bytes, sockets_per_visitor, sockets }
}
