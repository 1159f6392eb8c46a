//! Which pages may call the HTTP endpoints. Tokens travel in a header, never in a cookie, so no credentials are allowed.

use super::state::{Addr, Channel, ChatState, ClientAddr};
use axum::Json;
use axum::extract::{Extension, Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::collections::HashMap;
use switchboard_webchat::{ErrorCode, ErrorFrame};

/// Checks the origin before the handler runs, and lets the page read the answer.
pub(super) async fn guard(
    State(state): State<ChatState>,
    Path(path): Path<HashMap<String, String>>,
    request: Request,
    next: Next,
) -> Response {
    let addr = request.extensions().get::<ClientAddr>().copied().map(Extension);
    let allowed = match origin(&state, path.get("channel").map_or("", String::as_str), request.headers(), addr) {
        Ok(allowed) => allowed,
        Err(response) => return *response,
    };
    let mut response = next.run(request).await;
    allow(response.headers_mut(), allowed);
    response
}

/// Answers a browser that asks before it calls.
pub(super) async fn preflight(
    State(state): State<ChatState>,
    Path(path): Path<HashMap<String, String>>,
    addr: Addr,
    headers: HeaderMap,
) -> Response {
    let allowed = match origin(&state, path.get("channel").map_or("", String::as_str), &headers, addr) {
        Ok(allowed) => allowed,
        Err(response) => return *response,
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    let h = response.headers_mut();
    h.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    h.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type, idempotency-key"),
    );
    h.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    allow(h, allowed);
    response
}

/// The page's origin, if it named one and may call this channel.
fn origin(
    state: &ChatState,
    channel: &str,
    headers: &HeaderMap,
    addr: Addr,
) -> Result<Option<HeaderValue>, Box<Response>> {
    let Some(channel) = state.channel(channel) else { return Err(Box::new(StatusCode::NOT_FOUND.into_response())) };
    page(state, &channel, headers, addr).map_err(|error| Box::new(problem(error)))?;
    Ok(headers.get(header::ORIGIN).cloned())
}

/// Whether the page that calls may use the channel. One that may not is metered, and the log tells of some of them only.
pub(super) fn page(state: &ChatState, channel: &Channel, headers: &HeaderMap, addr: Addr) -> Result<(), ErrorFrame> {
    let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("?"));
    let Err(error) = channel.settings.origins.check(text(header::ORIGIN), text(header::HOST)) else { return Ok(()) };
    state.metered_address(channel, &channel.strangers, addr)?;
    if let Some(unsaid) = channel.refused.note() {
        tracing::info!(channel = channel.id(), %error, unsaid, "web chat refused a page");
    }
    Err(state.refuse(channel, ErrorCode::OriginRefused, error.to_string()))
}

fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// An error frame as an HTTP answer.
pub(super) fn problem(error: ErrorFrame) -> Response {
    let status = match error.code {
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::OriginRefused => StatusCode::FORBIDDEN,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable | ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::BadFrame => StatusCode::BAD_REQUEST,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::TooLong | ErrorCode::Empty | ErrorCode::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::FileType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    let retry = error.retry_after_ms.map(|ms| ms.div_ceil(1000).max(1));
    let mut response = (status, Json(switchboard_webchat::ServerFrame::Error(error))).into_response();
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
