//! The console's files, compiled in. Nothing is built and nothing is fetched from elsewhere: what is in `assets/` is what
//! the browser gets.

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use switchboard_adapter_sdk::signature::to_hex;

/// One file of the console.
pub(super) struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    pub body: &'static str,
}

macro_rules! assets {
    ($($name:literal),+ $(,)?) => {
        &[$(Asset { name: $name, content_type: content_type($name), body: include_str!(concat!("assets/", $name)) }),+]
    };
}

pub(super) const ASSETS: &[Asset] = assets![
    "console.css",
    "icon.svg",
    "actions.js",
    "alert.js",
    "api.js",
    "app.js",
    "board.js",
    "canned.js",
    "composer.js",
    "contact.js",
    "conversation.js",
    "dialogs.js",
    "dom.js",
    "extras.js",
    "find.js",
    "format.js",
    "held.js",
    "inbox.js",
    "keys.js",
    "login.js",
    "messages.js",
    "plots.js",
    "route.js",
    "rules.js",
    "segments.js",
    "shell.js",
    "store.js",
    "views.js",
    "why.js",
];

const PAGE: &str = include_str!("assets/page.html");

const fn content_type(name: &str) -> &'static str {
    match name.as_bytes() {
        [.., b'.', b'j', b's'] => "text/javascript; charset=utf-8",
        [.., b'.', b'c', b's', b's'] => "text/css; charset=utf-8",
        _ => "image/svg+xml",
    }
}

/// The hash over all files: part of their address, so that a page never mixes the modules of two versions.
pub(super) fn version() -> String {
    let mut all = Context::new(&SHA256);
    for asset in ASSETS {
        all.update(asset.name.as_bytes());
        all.update(&[0]);
        all.update(asset.body.as_bytes());
        all.update(&[0]);
    }
    short(&all.finish())
}

/// The entity tag of one file.
pub(super) fn etag(asset: &Asset) -> String {
    format!("\"{}\"", short(&digest(&SHA256, asset.body.as_bytes())))
}

/// The one page, with the addresses of this version's files and the workspace's name.
pub(super) fn page(version: &str, workspace: &str) -> String {
    let preload: String = ASSETS
        .iter()
        .filter(|asset| asset.name.ends_with(".js"))
        .map(|asset| format!("<link rel=\"modulepreload\" href=\"/console/assets/{version}/{}\">\n", asset.name))
        .collect();
    PAGE.replace("{version}", version)
        .replace("{preload}", preload.trim_end())
        .replace("{workspace}", &escape(workspace))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The first 64 bits are plenty to tell versions apart.
fn short(digest: &Digest) -> String {
    to_hex(digest.as_ref().split_at(8).0)
}
