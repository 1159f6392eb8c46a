//! The web chat's edge: visitor sockets, the HTTP fallback, files, the widget and its demo page.
//!
//! It holds no truth. What a visitor says is acknowledged once it is durable; what the visitor is shown comes from history,
//! so that a reload, another device or a restart of the daemon continues where the thread stands.

mod backend;
mod cors;
mod fallback;
mod files;
mod meters;
mod metrics;
mod pages;
mod session;
mod socket;
mod state;
mod wakes;

pub use backend::{ChatBackend, ChatItem, Transcript};
pub use state::{ChatSetup, ChatState, ClientAddr, Clock, Timing};
pub use wakes::Wakes;

use axum::{
    Router, middleware,
    routing::{get, options, post},
};

/// The routes below `/chat`. The server must allow upgrades, and may put a [`ClientAddr`] into each request's extensions.
pub fn routes(state: ChatState) -> Router {
    let guarded = Router::new()
        .route("/chat/{channel}/session", post(fallback::session))
        .route("/chat/{channel}/events", get(fallback::events))
        .route("/chat/{channel}/messages", post(fallback::messages))
        .route("/chat/{channel}/files", post(files::upload))
        .route("/chat/{channel}/files/{hash}", get(files::download))
        .route_layer(middleware::from_fn_with_state(state.clone(), cors::guard));
    let preflights = ["session", "events", "messages", "files", "files/{hash}"]
        .into_iter()
        .fold(Router::new(), |r, path| r.route(&format!("/chat/{{channel}}/{path}"), options(cors::preflight)));
    Router::new()
        .route("/chat/{channel}", get(pages::demo))
        .route("/chat/{channel}/demo.css", get(pages::demo_css))
        .route("/chat/{channel}/widget.js", get(pages::widget))
        .route("/chat/{channel}/words.json", get(pages::words))
        .route("/chat/{channel}/ws", get(socket::upgrade))
        .merge(guarded)
        .merge(preflights)
        .with_state(state)
}
