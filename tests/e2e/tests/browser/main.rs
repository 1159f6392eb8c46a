//! The widget and the console in a real browser. The pictures in `target/screenshots` are for people to look at.
#![forbid(unsafe_code)]

mod console;
mod held;
mod keyboard;
mod mail;
mod pages;
mod unsent;
mod widget;

use serde_json::Value;
use std::path::PathBuf;
use switchboard_e2e::{Api, Browser, Shop, Site, eventually, http, screenshots};

const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const SHIFT_TAB: &str = "\u{e008}\u{e004}";
const ESCAPE: &str = "\u{e00c}";
const BACKSPACE: &str = "\u{e003}";
const SIZES: [(u32, u32); 3] = [(1440, 900), (1024, 768), (390, 844)];

/// What the page looks like in both themes and three sizes; nothing of it is wider than its window.
async fn pictures(browser: &Browser, name: &str) {
    for theme in ["light", "dark"] {
        for (width, height) in SIZES {
            browser.look(width, height, theme).await;
            browser.screenshot(&screenshots().join(format!("{name}-{theme}-{width}.png"))).await;
            let wide = browser.script("return document.documentElement.scrollWidth - innerWidth", &[]).await.unwrap();
            assert!(wide.as_i64() <= Some(0), "{name} is {wide} pixels wider than a window of {width}");
        }
    }
    browser.look(1440, 900, "light").await;
}

/// The console, where somebody has signed in with their token.
async fn signed_in_with(browser: &Browser, shop: &Shop, token: &str) {
    browser.open(&format!("{}/console", shop.admin())).await;
    browser.keys("#token", token).await;
    browser.keys("#token", ENTER).await;
    browser.sees("Mine").await;
    // Nobody was signed in before, and the page asked.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|c| c.contains("/api/v1/me") && c.contains("401")), "{complaints:?}");
}

async fn say(browser: &Browser, text: &str) {
    browser.keys("textarea", text).await;
    browser.keys("textarea", ENTER).await;
}

/// The keys of a web chat that this site may embed.
fn chat_of(site: &Site) -> String {
    format!("[channels.site]\nkind = \"webchat\"\norigins = [\"{}\"]\n", site.origin())
}

/// A page of somebody else: with a link and a button of its own, and styles that reach for everything. `chat` is where the
/// widget's script comes from.
fn page_with(chat: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>A shop</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">\
         <style>* {{ color: rgb(255, 0, 0) !important; font: 40px serif !important }} section, form {{ display: none !important }} \
         body {{ background: rgb(250, 250, 210) }}</style>\
         <h1>Lamps and shades</h1><p><a href=\"#lamps\">Lamps</a> <button id=\"buy\">Buy</button> <output id=\"bought\">0</output></p>\
         <script src=\"{chat}/chat/site/widget.js\" defer></script>"
    )
}

/// The one conversation of the chat, once `holds`.
async fn chat_conversation(api: &Api, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the conversation {what}"), || async {
        let rows = api.all("/conversations?channel=site", "conversations").await;
        let [row] = rows.as_slice() else { return Err(format!("{rows:?}")) };
        let whole = api.get(&format!("/conversations/{}", row["id"].as_str().unwrap_or_default())).await;
        if whole.status == 200 && holds(&whole.body) { Ok(whole.body) } else { Err(whole.to_string()) }
    })
    .await
}

/// How often a message with this text stands in a conversation.
fn count(conversation: &Value, text: &str) -> usize {
    conversation["messages"].as_array().map_or(0, |all| all.iter().filter(|m| m["text"] == text).count())
}

/// Sixteen by sixteen pixels of one colour.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mMwCblIEmIY1TCqYfhqAADM8VkQXfjkEAAAAABJRU5ErkJggg==";

fn picture() -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(PICTURE).unwrap()
}

/// A file of that name with those bytes, in a folder that lives as long as the first.
fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Fetches an address as a browser without any session would.
async fn fetched(url: &str) -> (u16, Vec<u8>) {
    let answer = http().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}
