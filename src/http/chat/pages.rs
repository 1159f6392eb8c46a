use super::state::ChatState;
use aws_lc_rs::digest;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use std::io::Write as _;
use switchboard_webchat::{MAX_ATTACHMENTS, Settings};

const WIDGET: &str = include_str!("assets/widget.js");
/// The widget's phrases in the languages that it does not carry.
const WORDS: &str = include_str!("assets/words.json");
const DEMO: &str = include_str!("assets/demo.html");
const DEMO_CSS: &str = include_str!("assets/demo.css");
/// Where the widget's source takes its channel's settings.
const SLOT: &str = "/*{settings}*/ {}";

/// Only what this daemon serves: no inline script, no foreign host, no frame around the page.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The widget with one channel's settings in it, ready to be sent.
pub(super) struct Widget {
    script: Bytes,
    /// The same, compressed once.
    gzip: Bytes,
    etag: HeaderValue,
}

impl Widget {
    pub fn new(settings: &Settings) -> Widget {
        let limits = settings.limits;
        let values = json!({
            "title": settings.title,
            "greeting": settings.greeting,
            "color": settings.color,
            "side": settings.side,
            "lang": settings.language,
            "uploads": settings.uploads,
            "maxText": limits.text,
            "maxFile": limits.file_bytes,
            "maxFiles": MAX_ATTACHMENTS,
        });
        // JSON is JavaScript but for `<`, which could end a script element if somebody inlines the file.
        let script = lean(WIDGET).replacen(SLOT, &values.to_string().replace('<', "\\u003c"), 1);
        let hash = digest::digest(&digest::SHA256, script.as_bytes());
        let etag = format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default()));
        let etag = HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("W/\"0\""));
        Widget { gzip: compressed(script.as_bytes()), script: script.into(), etag }
    }
}

/// The source without what only its authors read: indentation and the lines that are comments.
fn lean(source: &str) -> String {
    let lines = source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn compressed(script: &[u8]) -> Bytes {
    let mut gzip = GzEncoder::new(vec![], Compression::best());
    // Writing into memory cannot fail; what is empty is not served.
    let written = gzip.write_all(script).and_then(|()| gzip.finish());
    written.unwrap_or_default().into()
}

/// Whether the client takes gzip (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.filter_map(|p| p.strip_prefix("q=")).any(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        named && !refused
    })
}

/// `GET /chat/<channel>/words.json`, for any page.
pub(super) async fn words(State(state): State<ChatState>, Path(channel): Path<String>) -> Response {
    if state.channel(&channel).is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, WORDS).into_response()
}

/// `GET /chat/<channel>/widget.js`, for any page: what it may do is decided by the socket's origin check.
pub(super) async fn widget(
    State(state): State<ChatState>,
    Path(channel): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    let common = [
        (header::ETAG, channel.widget.etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|list| {
        let own = channel.widget.etag.to_str().unwrap_or_default().trim_start_matches("W/");
        list.split(',').map(|t| t.trim().trim_start_matches("W/")).any(|t| t == "*" || own == t)
    });
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    let vary = [(header::VARY, "accept-encoding")];
    if takes_gzip(&headers) && !channel.widget.gzip.is_empty() {
        let encoding = [(header::CONTENT_ENCODING, "gzip")];
        return (common, content_type, vary, encoding, channel.widget.gzip.clone()).into_response();
    }
    (common, content_type, vary, channel.widget.script.clone()).into_response()
}

/// `GET /chat/<channel>`: a small shop in which to be the customer.
pub(super) async fn demo(State(state): State<ChatState>, Path(channel): Path<String>) -> Response {
    let Some(channel) = state.channel(&channel).filter(|c| c.settings.demo) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    page("text/html; charset=utf-8", DEMO.replace("{channel}", channel.id()))
}

pub(super) async fn demo_css(State(state): State<ChatState>, Path(channel): Path<String>) -> Response {
    if !state.channel(&channel).is_some_and(|c| c.settings.demo) {
        return StatusCode::NOT_FOUND.into_response();
    }
    page("text/css; charset=utf-8", DEMO_CSS.to_owned())
}

fn page(content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, DEMO_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}
