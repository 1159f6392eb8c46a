//! A line a request, without secrets and without what customers wrote: method, path, status, duration and an id.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A request's id, for the lines of the log that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u64);

/// A layer for `axum::middleware::from_fn`: gives a request its id, answers it as `x-request-id`, and writes the line. The
/// query is left out: addresses and tokens travel there.
pub async fn log(mut request: Request, next: Next) -> Response {
    let id = RequestId(NEXT.fetch_add(1, Ordering::Relaxed));
    request.extensions_mut().insert(id);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = Instant::now();
    let mut response = next.run(request).await;
    let (status, ms) = (response.status().as_u16(), start.elapsed().as_millis());
    let ms = u64::try_from(ms).unwrap_or(u64::MAX);
    if response.status().is_server_error() {
        tracing::warn!(request = id.0, %method, path, status, ms, "request");
    } else {
        tracing::debug!(request = id.0, %method, path, status, ms, "request");
    }
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from(id.0));
    response
}
