use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use switchboard_webchat::ErrorCode;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    channel: String,
    what: &'static str,
}

/// What the chat counts. Channels are configured, so the labels are few.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    sockets: Gauge,
    messages: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("switchboard_chat_sockets", "open visitor sockets", self.sockets.clone());
        registry.register("switchboard_chat_messages", "visitors' messages, by how they came", self.messages.clone());
        registry.register("switchboard_chat_refused", "frames and requests refused, by reason", self.refused.clone());
    }

    pub fn opened(&self) -> OpenSocket {
        self.sockets.inc();
        OpenSocket(self.sockets.clone())
    }

    pub fn message(&self, channel: &str, duplicate: bool) {
        let what = if duplicate { "duplicate" } else { "stored" };
        self.messages.get_or_create(&Labels { channel: channel.into(), what }).inc();
    }

    pub fn refused(&self, channel: &str, code: ErrorCode) {
        let what = match code {
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::OriginRefused => "origin_refused",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Busy => "busy",
            ErrorCode::BadFrame => "bad_frame",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::TooLong => "too_long",
            ErrorCode::Empty => "empty",
            ErrorCode::Refused => "refused",
            ErrorCode::FileType => "file_type",
        };
        self.refused.get_or_create(&Labels { channel: channel.into(), what }).inc();
    }
}

/// Counts a socket for as long as it lives, however it ends.
pub(super) struct OpenSocket(Gauge);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}
