//! Every route with its scope, in one table: the router is made from it, and so are the tests.

use super::auth::Caller;
use super::{
    ApiState, activity, attachments, canary, commands, contacts, conversations, decisions, events, explain, held,
    logins, numbers, rules, status,
};
use crate::http::problem::{Problem, for_a_person};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use switchboard_envelope::Scope;

/// One route of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub method: &'static str,
    /// Below `/api/v1`.
    pub path: &'static str,
    /// `None`: anybody may.
    pub scope: Option<Scope>,
}

macro_rules! table {
    ($($method:ident $path:literal $scope:tt $handler:path;)*) => {
        /// Every route, in the order of the documentation.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            scope: table!(@scope $scope),
        }),*];

        fn every(state: &ApiState) -> Router<ApiState> {
            let mut router = Router::new();
            $(
                let handler = match table!(@scope $scope) {
                    Some(scope) => $method($handler)
                        .route_layer(middleware::from_fn_with_state((state.clone(), scope), admit)),
                    None => $method($handler),
                };
                router = router.route($path, handler);
            )*
            router
        }
    };
    (@scope Open) => { None };
    (@scope $scope:ident) => { Some(Scope::$scope) };
}

table! {
    get "/openapi.json" Open numbers::openapi;
    get "/me" Read numbers::me;
    get "/conversations" Read conversations::list;
    get "/conversations/{id}" Read conversations::detail;
    patch "/conversations/{id}" Agent conversations::update;
    get "/conversations/{id}/messages" Read conversations::messages;
    get "/conversations/{id}/explain" Read explain::of_conversation;
    post "/conversations/{id}/reply" Agent conversations::reply;
    post "/conversations/{id}/note" Agent conversations::note;
    put "/conversations/{id}/typing" Agent conversations::typing;
    post "/conversations/{id}/take" Agent conversations::take;
    post "/conversations/{id}/close" Agent conversations::close;
    post "/conversations/{id}/reopen" Agent conversations::reopen;
    post "/conversations/{id}/transfer" Agent conversations::transfer;
    post "/conversations/{id}/snooze" Agent conversations::snooze;
    post "/messages" Agent conversations::start;
    get "/messages/{id}" Read conversations::message;
    get "/messages/{id}/explain" Read explain::explain;
    get "/decisions" Read decisions::list;
    get "/messages/{id}/attachments/{index}" Read attachments::download;
    post "/attachments" Agent attachments::upload;
    get "/agents" Read numbers::agents;
    put "/agents/{id}/presence" Agent numbers::presence;
    post "/agents/{id}/login" Admin logins::link;
    get "/offers" Read numbers::offers;
    post "/offers/{id}/accept" Agent numbers::accept;
    post "/offers/{id}/decline" Agent numbers::decline;
    get "/contacts" Read contacts::list;
    get "/contacts/{id}" Read contacts::detail;
    patch "/contacts/{id}" Agent contacts::update;
    post "/contacts/{id}/merge" Supervisor contacts::merge;
    get "/queues" Read numbers::queues;
    get "/activity" Read activity::show;
    get "/channels" Read numbers::channels;
    post "/channels/{id}/measure" Read numbers::measure;
    post "/channels/{id}/pause" Supervisor numbers::pause;
    post "/channels/{id}/resume" Supervisor numbers::resume;
    get "/rules" Read rules::show;
    get "/rules/settings" Read rules::settings;
    post "/rules/reload" Admin rules::reload;
    post "/rules/rollback" Admin canary::rollback;
    get "/rules/canary" Read canary::show;
    post "/rules/canary" Admin canary::begin;
    delete "/rules/canary" Admin canary::stop;
    post "/rules/canary/promote" Admin canary::promote;
    get "/dead-letters" Read held::dead_letters;
    post "/dead-letters/{id}/resend" Agent held::resend;
    delete "/dead-letters/{id}" Agent held::give_up;
    get "/quarantine" Read held::quarantine;
    get "/quarantine/{id}" Read held::record;
    post "/quarantine/{id}/retry" Supervisor held::retry;
    delete "/quarantine/{id}" Supervisor held::forget;
    get "/status" Read status::show;
    get "/events" Read events::stream;
}

/// The router below `/api/v1`.
pub(super) fn router(state: ApiState) -> Router {
    every(&state)
        .fallback(async || Problem::not_found("the API has no such path; see /api/v1/openapi.json"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take this method")
        })
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Lets a caller in whose scope reaches; the handler finds who it is in the request's extensions.
async fn admit(State((state, scope)): State<(ApiState, Scope)>, mut request: Request, next: Next) -> Response {
    // Only files are linked to, and a link is for looking at them.
    if scope == Scope::Read
        && request.method() == Method::GET
        && let Some(opened) = state.shared.files.open(request.uri(), state.backend().now())
    {
        let person = by_a_browser(request.headers());
        let answer = match opened {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
        return if person { for_a_person(answer) } else { answer };
    }
    match state.shared.gate.admit(request.method(), request.headers(), scope) {
        Ok(caller) => {
            request.extensions_mut().insert::<Caller>(caller);
            next.run(request).await
        }
        Err(problem) => {
            tracing::debug!(path = %request.uri().path(), code = %problem.code, "refused a caller of the API");
            problem.into_response()
        }
    }
}

/// Somebody followed a link, and reads what comes.
fn by_a_browser(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"))
}

/// What every answer carries: it holds customers' words, so nothing keeps it, and no browser takes it for a page.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"));
    response
}

/// The handlers that only repeat one command.
pub(super) use commands::Posted;
