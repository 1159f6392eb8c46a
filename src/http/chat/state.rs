use super::{
    ChatBackend, Wakes,
    meters::{Meters, Places},
    metrics::Metrics,
};
use crate::http::body::Room;
use crate::http::complaints::Complaint;
use axum::extract::Extension;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_webchat::{ErrorCode, ErrorFrame, Settings, TokenKey, Webchat};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// The daemon's clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The visitor's address as the server knows it behind its trusted proxies; put into a request's extensions, it is metered.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr(pub IpAddr);

/// A request's [`ClientAddr`], where the server knows it.
pub(super) type Addr = Option<Extension<ClientAddr>>;

impl ClientAddr {
    /// What one subscriber has: an IPv4 address, or the 2⁶⁴ addresses of an IPv6 network (RFC 6177).
    #[must_use]
    pub fn subscriber(&self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits((ip.to_bits() >> 64) << 64).into(),
            v4 => v4,
        }
    }
}

/// What the chat is made of.
pub struct ChatSetup {
    pub backend: Arc<dyn ChatBackend>,
    pub wakes: Arc<Wakes>,
    pub channels: Vec<Arc<Webchat>>,
    /// One key a workspace, kept in the log, so that tokens outlive the process.
    pub key: TokenKey,
    pub clock: Clock,
    pub timing: Timing,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the upgrade to a `hello`.
    pub hello: Duration,
    /// Between two pings of ours.
    pub ping: Duration,
    /// Without any sign of life the socket is closed.
    pub idle: Duration,
    /// A visitor who takes nothing for this long is disconnected, and comes back.
    pub send: Duration,
    /// Confirmations are collected for this long.
    pub confirm: Duration,
    /// The longest wait of a poll.
    pub poll: Duration,
    /// The log's answer to one record.
    pub ingest: Duration,
    /// A whole upload.
    pub upload: Duration,
    /// Between two pieces of an upload.
    pub pause: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        let s = Duration::from_secs;
        Timing {
            hello: s(10),
            ping: s(30),
            idle: s(75),
            send: s(10),
            confirm: Duration::from_millis(400),
            poll: s(25),
            ingest: s(10),
            upload: s(120),
            pause: s(10),
        }
    }
}

/// Shared by all handlers; cloning is cheap.
#[derive(Clone)]
pub struct ChatState(Arc<Inner>);

/// Seen only through [`ChatState`].
pub struct Inner {
    pub(super) backend: Arc<dyn ChatBackend>,
    pub(super) wakes: Arc<Wakes>,
    pub(super) channels: BTreeMap<String, Arc<Channel>>,
    pub(super) key: TokenKey,
    pub(super) timing: Timing,
    pub(super) metrics: Metrics,
    /// For what visitors post, files too.
    pub(super) room: Room,
    /// Sockets that are told why they are not served.
    pub(super) turned_away: Arc<Semaphore>,
    clock: Clock,
    started: Instant,
    draining: watch::Sender<bool>,
}

/// One channel with what it shares among its visitors.
pub(super) struct Channel {
    pub settings: Settings,
    pub seats: Arc<Semaphore>,
    pub requests: Meters,
    pub uploads: Meters,
    /// By address: what needs no token, and files.
    pub strangers: Meters,
    /// By address: what visitors say; and what begins a conversation, which is dearer.
    pub messages: Meters,
    pub beginnings: Meters,
    /// Uploads at this moment, by visitor and by address.
    pub uploading: Places,
    /// Pages that may not use the channel.
    pub refused: Complaint,
    pub widget: super::pages::Widget,
}

impl std::ops::Deref for ChatState {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Channel {
    fn new(settings: Settings) -> Channel {
        let limits = settings.limits;
        Channel {
            seats: Arc::new(Semaphore::new(limits.sockets as usize)),
            requests: Meters::new(limits.rate, limits.burst, 50_000),
            uploads: Meters::new(1, 10, 50_000),
            strangers: Meters::new(10, 100, 50_000),
            messages: Meters::new(limits.rate.max(10), limits.burst.max(100), 50_000),
            beginnings: Meters::new(1, 30, 50_000),
            uploading: Places::default(),
            refused: Complaint::default(),
            widget: super::pages::Widget::new(&settings),
            settings,
        }
    }

    pub fn id(&self) -> &str {
        &self.settings.channel
    }
}

impl ChatState {
    #[must_use]
    pub fn new(setup: ChatSetup) -> ChatState {
        let channels = setup.channels.iter().map(|chat| {
            let settings = chat.settings().clone();
            (settings.channel.clone(), Arc::new(Channel::new(settings)))
        });
        ChatState(Arc::new(Inner {
            channels: channels.collect(),
            backend: setup.backend,
            wakes: setup.wakes,
            key: setup.key,
            timing: setup.timing,
            metrics: Metrics::default(),
            room: Room::for_bodies_of(super::files::MOST),
            turned_away: Arc::new(Semaphore::new(64)),
            clock: setup.clock,
            started: Instant::now(),
            draining: watch::Sender::new(false),
        }))
    }

    /// Adds what the chat counts to the daemon's metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Says goodbye to every socket and ends every waiting poll. Widgets come back by themselves, to whoever listens then.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Milliseconds of a clock that never goes back, for buckets.
    pub(super) fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn channel(&self, id: &str) -> Option<Arc<Channel>> {
        self.channels.get(id).cloned()
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Returns once [`ChatState::drain`] was called.
    pub(super) async fn drained(&self) {
        let mut draining = self.draining.subscribe();
        // The sender lives as long as this state: an error cannot happen, and would mean the same.
        let _ended = draining.wait_for(|d| *d).await.is_ok();
    }

    /// An error frame, counted.
    pub(super) fn refuse(&self, channel: &Channel, code: ErrorCode, detail: impl Into<String>) -> ErrorFrame {
        self.metrics.refused(channel.id(), code);
        let detail = Some(detail.into()).filter(|d: &String| !d.is_empty());
        ErrorFrame { detail, ..ErrorFrame::new(code) }
    }

    /// The same, with when to try again.
    pub(super) fn refuse_for(&self, channel: &Channel, code: ErrorCode, retry_after_ms: u64) -> ErrorFrame {
        ErrorFrame { retry_after_ms: Some(retry_after_ms), ..self.refuse(channel, code, "") }
    }

    /// Takes a token of whoever has this address; where the server knows none, nobody is metered.
    pub(super) fn metered_address(&self, channel: &Channel, meters: &Meters, addr: Addr) -> Result<(), ErrorFrame> {
        let Some(Extension(addr)) = addr else { return Ok(()) };
        let taken = meters.take(&addr.subscriber().to_string(), self.monotonic_ms());
        taken.map_err(|ms| self.refuse_for(channel, ErrorCode::RateLimited, ms))
    }
}

#[cfg(test)]
mod tests {
    use super::ClientAddr;

    #[test]
    fn all_addresses_of_one_subscriber_are_one() {
        let subscriber = |ip: &str| ClientAddr(ip.parse().unwrap()).subscriber();
        assert_eq!(subscriber("2001:db8:1:2::3"), subscriber("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(subscriber("2001:db8:1:2::3"), subscriber("2001:db8:1:3::3"));
        assert_eq!(subscriber("::ffff:192.0.2.7"), subscriber("192.0.2.7"));
        assert_ne!(subscriber("192.0.2.7"), subscriber("192.0.2.8"));
    }
}
