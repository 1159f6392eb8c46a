//! Reading bodies: at most so many bytes, in at most so long.

use super::problem::Problem;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::time::Duration;

/// Reads a whole body.
///
/// # Errors
/// 413 when it is longer than `limit`, already by its declared length; 408 when it does not come in time; 400 when it
/// breaks off.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize, timeout: Duration) -> Result<Bytes, Problem> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if declared.is_some_and(|n| n > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    match tokio::time::timeout(timeout, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length(&error) => Err(Problem::too_large(limit)),
        Ok(Err(_)) => Err(Problem::bad("body_cut", "the body broke off")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_slow", "the body did not come in time")),
    }
}

/// Whether the limit was the cause; the error is boxed, and its type is another crate's.
fn is_length(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if e.to_string() == "length limit exceeded" {
            return true;
        }
        cause = e.source();
    }
    false
}
