use super::cors::problem;
use super::fallback::{bearer, body};
use super::session::Session;
use super::state::{Addr, Channel, ChatState};
use crate::http::body::BodyLimits;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;
use switchboard_envelope::{Attachment, BlobRef};
use switchboard_webchat::{self as webchat, ErrorCode, ErrorFrame, FileRefused, Hello, MultipartError, SignedFile};

/// What a form adds around its file.
const FORM: usize = 16 * 1024;
/// The longest body of an upload that can be configured.
pub(super) const MOST: usize = 10 * 1024 * 1024 + FORM;
/// Uploads at the same time.
const OF_A_VISITOR: usize = 2;
const OF_AN_ADDRESS: usize = 3;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    name: String,
}

type QueryResult<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

/// `POST /chat/<channel>/files`: a form with a file, or the bare bytes with `?name=`. The answer is what a `message` may name.
pub(super) async fn upload(
    State(state): State<ChatState>,
    Path(channel): Path<String>,
    query: QueryResult<Named>,
    addr: Addr,
    headers: HeaderMap,
    request: Body,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    let name = query.map(|Query(q)| q.name).unwrap_or_default();
    match store(&state, &channel, &name, addr, &headers, request).await {
        Ok(file) => (StatusCode::CREATED, Json(file)).into_response(),
        Err(error) => problem(error),
    }
}

async fn store(
    state: &ChatState,
    channel: &Arc<Channel>,
    name: &str,
    addr: Addr,
    headers: &HeaderMap,
    request: Body,
) -> Result<SignedFile, ErrorFrame> {
    let session = bearer(state, channel, headers, Hello::default())?;
    if !channel.settings.uploads {
        return Err(state.refuse(channel, ErrorCode::Refused, "this chat takes no files"));
    }
    state.metered_address(channel, &channel.strangers, addr)?;
    let taken = channel.uploads.take(session.visitor.as_str(), state.monotonic_ms());
    taken.map_err(|ms| state.refuse_for(channel, ErrorCode::RateLimited, ms))?;
    let busy = || state.refuse_for(channel, ErrorCode::Busy, 2000);
    let _visitors = channel.uploading.take(session.visitor.as_str(), OF_A_VISITOR).ok_or_else(busy)?;
    let here = addr.map(|Extension(addr)| channel.uploading.take(&addr.subscriber().to_string(), OF_AN_ADDRESS));
    let _addresses = here.map(|place| place.ok_or_else(busy)).transpose()?;
    let max = channel.settings.limits.file_bytes as usize;
    let limits = BodyLimits { bytes: max + FORM, within: state.timing.upload, pause: state.timing.pause };
    let whole = body(state, channel, headers, request, limits).await?;
    let bytes = whole.bytes.clone();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (name, bytes) =
        file_of(content_type, name, bytes).map_err(|e| state.refuse(channel, ErrorCode::BadFrame, e.to_string()))?;
    if bytes.len() > max {
        return Err(state.refuse(channel, ErrorCode::TooLarge, format!("a file may hold {max} bytes")));
    }
    keep(state, &session, &name, bytes).await
}

/// The file's name and bytes, whether they came as a form or bare.
fn file_of(content_type: &str, name: &str, bytes: Bytes) -> Result<(String, Bytes), MultipartError> {
    if !content_type.to_ascii_lowercase().starts_with("multipart/") {
        return Ok((name.to_owned(), bytes));
    }
    let part = webchat::first_file(content_type, &bytes)?;
    Ok((part.name.to_owned(), bytes.slice_ref(part.bytes)))
}

async fn keep(state: &ChatState, session: &Session, name: &str, bytes: Bytes) -> Result<SignedFile, ErrorFrame> {
    let channel = &session.channel;
    let (name, mime) = webchat::check_upload(name, &bytes).map_err(|e| match e {
        FileRefused::Empty => state.refuse(channel, ErrorCode::Empty, e.to_string()),
        FileRefused::Kind => state.refuse(channel, ErrorCode::FileType, e.to_string()),
    })?;
    let size = bytes.len() as u64;
    let stored = state.backend.put_file(channel.id(), session.visitor.as_str(), bytes).await;
    let blob = stored.map_err(|error| {
        tracing::warn!(channel = channel.id(), %error, "web chat could not store a file");
        state.refuse_for(channel, ErrorCode::Unavailable, 5000)
    })?;
    let file = Attachment { name, mime: mime.into(), size, blob: Some(blob), ..Attachment::default() };
    Ok(webchat::sign_file(&state.key, channel.id(), &session.visitor, &file))
}

/// `GET /chat/<channel>/files/<sha256>?name=`: a file of the caller's own thread, as a download that no browser renders.
pub(super) async fn download(
    State(state): State<ChatState>,
    Path((channel, hash)): Path<(String, String)>,
    query: QueryResult<Named>,
    headers: HeaderMap,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    let session = match bearer(&state, &channel, &headers, Hello::default()) {
        Ok(session) => session,
        Err(error) => return problem(error),
    };
    if let Err(ms) = channel.requests.take(session.visitor.as_str(), state.monotonic_ms()) {
        return problem(state.refuse_for(&channel, ErrorCode::RateLimited, ms));
    }
    let blob = BlobRef::of_hash(&hash);
    if blob.hash().is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    match state.backend.get_file(channel.id(), session.visitor.as_str(), &blob).await {
        Ok(Some(bytes)) => attachment(bytes, &query.map(|Query(q)| q.name).unwrap_or_default()),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::warn!(channel = channel.id(), %error, "web chat could not read a file");
            problem(state.refuse_for(&channel, ErrorCode::Unavailable, 5000))
        }
    }
}

fn attachment(bytes: Bytes, name: &str) -> Response {
    let mut disposition = String::from("attachment");
    if !name.is_empty() {
        // RFC 8187: every byte that is not plain is percent-encoded, so no name can end the value.
        disposition.push_str("; filename*=UTF-8''");
        for b in name.chars().take(webchat::MAX_FILE_NAME).collect::<String>().bytes() {
            if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') {
                disposition.push(char::from(b));
            } else {
                let _ = write!(disposition, "%{b:02X}");
            }
        }
    }
    let disposition = HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment"));
    let fixed: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
        (header::CACHE_CONTROL, "private, max-age=86400, immutable"),
    ];
    (fixed, [(header::CONTENT_DISPOSITION, disposition)], bytes).into_response()
}
