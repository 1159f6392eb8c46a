//! What stands at the root of the public listener, for a person who opens it to see whether it is there.

use axum::Router;
use axum::routing::get;
use http::StatusCode;

const TEXT: &str = "Nothing is shown here. Webhooks are taken at /hooks/<channel>, and a chat is at /chat/<channel>. The console is at \
                    another address, which is not public.\n";

/// `GET /`: there is no page, and a sentence says what there is.
pub fn routes() -> Router {
    Router::new().route("/", get(async || (StatusCode::NOT_FOUND, TEXT)))
}
