//! The built-in desk at `/console`, on the admin listener: one page, its files, and signing in and out. Everything it
//! shows comes from `/api/v1`, which accepts the session cookie made here (see [`Sessions::check`]).

mod assets;
mod kept;
pub mod presence;
mod sessions;
#[cfg(test)]
mod tests;

pub use kept::Kept;
pub use presence::{Presence, PresenceChange};
pub(super) use sessions::hash;
pub use sessions::{CONSOLE_HEADER, Clock, Forged, Identity, LOGIN_TTL_MS, OpenConsole, SessionId, Sessions};

use crate::http::problem::Problem;
use assets::{ASSETS, Asset};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use std::sync::Arc;

/// Only what the daemon itself serves, nothing inline, no frame around it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A login is a code or a token; nothing longer is read.
const MAX_LOGIN_BODY: usize = 4096;

/// Says whom an API token speaks for; compares in constant time.
pub type TokenCheck = Arc<dyn Fn(&str) -> Option<Identity> + Send + Sync>;

/// What the console's routes need.
#[derive(Clone)]
pub struct ConsoleState {
    pub sessions: Arc<Sessions>,
    pub tokens: TokenCheck,
    /// Shown in the corner, so that nobody answers in the wrong workspace.
    pub workspace: String,
}

#[derive(Clone)]
struct Shared {
    console: ConsoleState,
    page: Arc<str>,
    version: Arc<str>,
}

/// `/console` and everything below it; `/` leads there.
pub fn routes(state: ConsoleState) -> Router {
    let version = assets::version();
    let page = assets::page(&version, &state.workspace).into();
    let shared = Shared { console: state, page, version: version.into() };
    Router::new()
        // Whoever types the bare address wants the desk.
        .route("/", get(async || Redirect::to("/console")))
        .route("/console", get(page_route))
        .route("/console/{*path}", get(page_route))
        .route("/console/assets/{*path}", get(asset))
        .route("/console/login", post(login).get(page_route))
        .route("/console/logout", post(logout).get(page_route))
        .layer(DefaultBodyLimit::max(MAX_LOGIN_BODY))
        .layer(middleware::from_fn(guard))
        .with_state(shared)
}

/// The headers that every answer of the console carries.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The same page at every address: the address says what it shows.
async fn page_route(State(shared): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], shared.page.to_string()).into_response()
}

/// `<version>/<name>` may be kept for ever; the bare `<name>`, or one of an older version, is asked for again each time.
async fn asset(State(shared): State<Shared>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let (version, name) = path.split_once('/').unwrap_or(("", &path));
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return problem(StatusCode::NOT_FOUND, "not_found", "the console has no such file");
    };
    let cache = if version == &*shared.version { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer(asset, cache, &headers)
}

fn answer(asset: &Asset, cache: &'static str, headers: &HeaderMap) -> Response {
    let etag = assets::etag(asset);
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag);
    let (status, body) = if known { (StatusCode::NOT_MODIFIED, "") } else { (StatusCode::OK, asset.body) };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type.to_owned()),
        (header::CACHE_CONTROL, cache.to_owned()),
        (header::ETAG, etag),
    ];
    (status, headers, Body::from(body)).into_response()
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum LoginRequest {
    /// From the link that the daemon prints.
    Code(String),
    /// A token of the API, pasted.
    Token(String),
}

/// `POST /console/login` with `{"code": …}` or `{"token": …}` answers 204 and the session's cookie.
async fn login(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(forged) = sessions::genuine(&headers) {
        return problem(StatusCode::FORBIDDEN, "forged", &forged.to_string());
    }
    let console = &shared.console;
    let identity = match serde_json::from_slice(&body) {
        Ok(LoginRequest::Code(code)) => console.sessions.redeem(code.trim()),
        Ok(LoginRequest::Token(token)) => (console.tokens)(token.trim()),
        Err(_) => {
            let detail = "a login is {\"code\": \"…\"} or {\"token\": \"…\"}";
            return problem(StatusCode::BAD_REQUEST, "bad_login", detail);
        }
    };
    let Some(identity) = identity else {
        let detail = "this code was used or is older than ten minutes, or no such token is configured";
        return problem(StatusCode::UNAUTHORIZED, "login_refused", detail);
    };
    tracing::info!(token = identity.token, agent = identity.agent, "console login");
    match console.sessions.start(identity) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &error.to_string()),
    }
}

/// `POST /console/logout` answers 204, with or without a session.
async fn logout(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Err(forged) = sessions::genuine(&headers) {
        return problem(StatusCode::FORBIDDEN, "forged", &forged.to_string());
    }
    let cookie = shared.console.sessions.end(&headers);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    Problem::new(status, code, detail).into_response()
}
