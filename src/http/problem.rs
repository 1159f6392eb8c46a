//! Errors as `application/problem+json` (RFC 9457).

use crate::history::HistoryError;
use crate::log::LogError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// A JSON pointer (RFC 6901) into the body, or the name of a query parameter.
    pub pointer: String,
    pub detail: String,
}

/// A refusal: for programs a stable code, for people a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub code: String,
    pub detail: String,
    pub errors: Vec<Fault>,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// Under which the request can be repeated without doing it twice, where it may have been taken.
    pub idempotency_key: Option<String>,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code.to_owned(),
            detail: detail.into(),
            errors: vec![],
            retry_after: None,
            idempotency_key: None,
        }
    }

    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    #[must_use]
    pub fn bad(code: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A body that was read, and says something that cannot be done.
    #[must_use]
    pub fn invalid(errors: Vec<Fault>) -> Problem {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} things are wrong with the request", many.len()),
        };
        Problem { errors, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    #[must_use]
    pub fn too_large(limit: usize) -> Problem {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body is over the limit of {limit} bytes"))
    }

    #[must_use]
    pub fn unavailable(code: &str, detail: impl Into<String>) -> Problem {
        Problem { retry_after: Some(2), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// A request that may have been taken, and how to learn what came of it.
    #[must_use]
    pub fn maybe_taken(code: &str, said: &str, key: &str) -> Problem {
        let detail = format!(
            "{said}; repeat the request with `Idempotency-Key: {key}`, which does it once and gives its answer"
        );
        Problem { idempotency_key: Some(key.to_owned()), ..Problem::unavailable(code, detail) }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Problem {
        // The cause is for the operator; who asks learns only that it can be tried again.
        tracing::warn!(%error, "the log refused a request of the API");
        match error {
            LogError::Full(_) => Problem::unavailable("log_full", "the log has no room; nothing was done"),
            LogError::Unavailable(_) => Problem::unavailable(
                "log_unavailable",
                "the log did not answer; repeat the request under the same Idempotency-Key",
            ),
            LogError::Damaged(_) | LogError::Refused(_) => {
                Problem::unavailable("log_unavailable", "the log cannot be written; nothing was done")
            }
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Problem {
        tracing::warn!(%error, "history could not be read");
        Problem::unavailable("history_unavailable", "history cannot be read now")
    }
}

/// What a refusal says to a person, kept with its answer.
#[derive(Clone)]
struct Sentence(String);

/// The answer for who looks at it in a browser: of a refusal the sentence alone.
pub fn for_a_person(answer: Response) -> Response {
    let Some(Sentence(said)) = answer.extensions().get::<Sentence>().cloned() else { return answer };
    let (mut head, _) = answer.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Response::from_parts(head, Body::from(format!("{said}\n")))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: &self.code,
            detail: &self.detail,
            errors: &self.errors,
            idempotency_key: self.idempotency_key.as_deref(),
        };
        let body = serde_json::to_string(&document).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"switchboard\""));
        }
        response.extensions_mut().insert(Sentence(self.detail));
        response
    }
}
