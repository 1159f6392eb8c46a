//! The configured channels as running adapters.

use super::adapters::External;
use crate::config::{ChannelConfig, ChannelKind, Config};
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::Adapter;
use switchboard_email::Email;
use switchboard_envelope::ChannelProfile;
use switchboard_webchat::{Origin, Webchat};
use switchboard_webhook::Webhook;

/// Attempts released at once, at most; a rate makes it fewer, so that what waits for the rate does not wait at an edge.
const IN_FLIGHT: u32 = 512;
/// Releases ahead of the rate, in seconds: less than a broker waits before it delivers a record again, to whoever is there.
const AHEAD_S: f64 = 8.0;

/// One channel that runs.
pub struct Running {
    pub id: String,
    pub config: ChannelConfig,
    pub adapter: Arc<dyn Adapter>,
    pub profile: ChannelProfile,
    /// The chat's own face of the adapter.
    pub chat: Option<Arc<Webchat>>,
    /// The mailbox's own face of the adapter.
    pub mail: Option<Arc<Email>>,
}

/// Builds every enabled channel and desk. `key` is the workspace's, for what mails of ours carry.
///
/// # Errors
/// With a sentence for each that cannot be built; `switchboard check` finds the same earlier.
pub fn build(config: &Config, key: &[u8; 32]) -> Result<Vec<Running>, Vec<String>> {
    let mut running = vec![];
    let mut problems = vec![];
    for (id, channel) in config.enabled_channels() {
        match one(config, id, channel, key) {
            Ok(r) => running.push(r),
            Err(found) => problems.extend(found.into_iter().map(|p| format!("channel `{id}`: {p}"))),
        }
    }
    for (id, desk) in config.enabled_desks() {
        match one(config, id, desk, key) {
            Ok(r) => running.push(Running { profile: of_desk(config, r.profile), ..r }),
            Err(found) => problems.extend(found.into_iter().map(|p| format!("desk `{id}`: {p}"))),
        }
    }
    if problems.is_empty() { Ok(running) } else { Err(problems) }
}

/// What the router knows of a channel when it is enabled; `None` when it cannot be built.
#[must_use]
pub fn profile_of(config: &Config, id: &str, channel: &ChannelConfig) -> Option<ChannelProfile> {
    one(config, id, channel, &[0; 32]).ok().map(|running| running.profile)
}

fn one(config: &Config, id: &str, channel: &ChannelConfig, key: &[u8; 32]) -> Result<Running, Vec<String>> {
    let mut mail = None;
    let (adapter, chat): (Arc<dyn Adapter>, _) = match &channel.kind {
        ChannelKind::Sms(sms) => {
            let adapter = switchboard_sms::build(sms.provider, &sms.settings)
                .map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            (adapter, None)
        }
        ChannelKind::Email(email) => {
            let beside = config.enabled_channels().filter_map(|(other, channel)| match &channel.kind {
                ChannelKind::Email(email) => Some((other.as_str(), &**email)),
                _ => None,
            });
            let adapter = Arc::new(Email::new(id, (**email).clone(), key).beside(beside, key));
            mail = Some(adapter.clone());
            (adapter, None)
        }
        ChannelKind::Facebook(facebook) => {
            let adapter = switchboard_facebook::build(facebook.product, &facebook.settings)
                .map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            (adapter, None)
        }
        ChannelKind::Declared(declared) => {
            let adapter = (declared.kind.build)(&declared.settings)
                .map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            (adapter, None)
        }
        ChannelKind::External(external) => (Arc::new(External::new(id, external.clone())), None),
        ChannelKind::Webhook(hook) => {
            let settings = switchboard_webhook::WebhookConfig {
                url: hook.url.clone(),
                secrets: hook.secrets.clone(),
                address_kind: hook.address_kind.clone(),
                has_links: config.http.public_url.is_some(),
            };
            let adapter =
                Webhook::new(id, settings).map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            (Arc::new(adapter), None)
        }
        ChannelKind::Webchat(chat) => {
            let settings = chat
                .clone()
                .validate(id, &own_origins(config))
                .map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            let adapter = Arc::new(Webchat::new(settings));
            (adapter.clone(), Some(adapter))
        }
    };
    let profile = profile(adapter.as_ref(), channel);
    Ok(Running { id: id.to_owned(), config: channel.clone(), adapter, profile, chat, mail })
}

/// A desk is a channel to people of ours: nothing starts there, and what it says leads to the console.
fn of_desk(config: &Config, profile: ChannelProfile) -> ChannelProfile {
    ChannelProfile { desk: true, proactive: false, console: config.admin.public_url.clone(), ..profile }
}

/// What the adapter says, with what the configuration changes.
fn profile(adapter: &dyn Adapter, config: &ChannelConfig) -> ChannelProfile {
    let mut profile = adapter.profile();
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    if let Some(d) = config.send_timeout {
        profile.send_timeout_ms = ms(d);
    }
    if let Some(d) = config.not_after {
        profile.not_after_ms = ms(d);
    }
    profile.resend_unknown = config.resend_unknown;
    profile.in_flight = profile.in_flight.clamp(1, IN_FLIGHT);
    if let Some(rate) = &config.rate {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a small range")]
        let ahead = (rate.per_second() * AHEAD_S).clamp(1.0, f64::from(IN_FLIGHT)) as u32;
        profile.in_flight = profile.in_flight.min(ahead);
    }
    profile
}

/// Where the daemon's own demo page is reached.
fn own_origins(config: &Config) -> Vec<Origin> {
    let port = config.http.listen.port();
    let mut urls = vec![format!("http://{}", config.http.listen)];
    if config.http.listen.ip().is_loopback() {
        urls.push(format!("http://localhost:{port}"));
        urls.push(format!("http://127.0.0.1:{port}"));
    }
    if let Some(public) = config.http.public_url.as_ref().and_then(|u| url::Url::parse(u).ok()) {
        urls.push(public.origin().ascii_serialization());
    }
    urls.iter().filter_map(|u| Origin::parse(u).ok()).collect()
}
