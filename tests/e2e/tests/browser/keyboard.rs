//! The widget by keyboard alone, and what a screen reader is told of it.

use super::{ENTER, ESCAPE, SHIFT_TAB, TAB, chat_conversation, chat_of, count, page_with};
use serde_json::json;
use switchboard_e2e::{AxNode, Browser, Daemon, Shop, Site, eventually, screenshots};

/// Names of the controls that nobody could guess.
fn unnamed(tree: &[AxNode]) -> Vec<&AxNode> {
    let controls = ["button", "textbox", "link", "dialog", "log", "progressbar"];
    tree.iter().filter(|n| controls.contains(&n.role.as_str()) && n.name.trim().is_empty()).collect()
}

async fn tree_with(browser: &Browser, role: &str, name: &str) -> Vec<AxNode> {
    eventually(&format!("{role} {name:?} in the accessibility tree"), || async {
        let tree = browser.accessibility().await;
        if tree.iter().any(|n| n.role == role && n.name.contains(name)) {
            return Ok(tree);
        }
        let told: Vec<String> = tree.iter().map(|n| format!("{} {:?}", n.role, n.name)).collect();
        Err(told.join("\n"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_needs_no_mouse_and_no_eyes() {
    let site = Site::start().await;
    let shop = Shop::with("http://127.0.0.1:9").more(&chat_of(&site)).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    site.show("", &page_with(&shop.public()));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    browser.open(&format!("{}/", site.origin())).await;

    // Closed it is one button at the end of the page, which says what it does.
    let tree = tree_with(&browser, "button", "Open chat").await;
    assert!(!tree.iter().any(|n| n.role == "dialog" || n.role == "log"), "what is closed is not read out");
    browser.press_until(TAB, "button Open chat").await;
    browser.press(ENTER).await;
    eventually("the field to have the focus", || async {
        let now = browser.focused().await;
        if now.starts_with("textarea Write a message") { Ok(()) } else { Err(now) }
    })
    .await;

    // Open, it is a named dialog with a log that is read out politely, and everything in it has a name.
    let tree = tree_with(&browser, "dialog", "Chat with us").await;
    // What is replayed at the beginning is not read out.
    eventually("the log to be read out politely", || async {
        let tree = browser.accessibility().await;
        let log = tree.iter().find(|n| n.role == "log").ok_or("no log")?;
        if log.property("live") == Some("polite") { Ok(()) } else { Err("it is silent") }
    })
    .await;
    assert_eq!(unnamed(&tree), Vec::<&AxNode>::new());
    for (role, name) in [
        ("textbox", "Write a message"),
        ("button", "Send"),
        ("button", "Attach a file"),
        ("button", "Close chat"),
        ("heading", "Chat with us"),
    ] {
        assert!(tree.iter().any(|n| n.role == role && n.name == name), "no {role} {name:?}");
    }
    let dialog = tree.iter().find(|n| n.role == "dialog").expect("a dialog");
    assert_ne!(dialog.property("modal"), Some("true"), "the page behind stays usable");

    browser.press("Which colours are there?").await;
    browser.press(ENTER).await;
    let asked = chat_conversation(&api, "to be there", |c| count(c, "Which colours are there?") == 1).await;
    tree_with(&browser, "StaticText", "Which colours are there?").await;
    tree_with(&browser, "StaticText", "Sent").await;

    // Choices are buttons that follow the text; one is taken by keyboard, and the field has the focus again.
    let body = json!({ "text": "Three of them:", "choices": [{ "id": "RED", "label": "Red" }, { "label": "Blue" }, { "label": "Green" }] });
    api.post(&format!("/conversations/{}/reply", asked["id"].as_str().unwrap()), body).await.ok();
    let tree = tree_with(&browser, "button", "Green").await;
    assert_eq!(unnamed(&tree), Vec::<&AxNode>::new());
    assert!(!browser.page_text().await.contains("1. Red"), "buttons are not written out as well");
    browser.screenshot(&screenshots().join("widget-choices.png")).await;
    browser.press_until(SHIFT_TAB, "button Red").await;
    browser.press(ENTER).await;
    let chosen = chat_conversation(&api, "to hold the choice", |c| count(c, "Red") == 1).await;
    let chose = chosen["messages"].as_array().unwrap().iter().find(|m| m["text"] == "Red").unwrap();
    assert_eq!(chose["choice"]["id"], "RED");
    let offered = chosen["messages"].as_array().unwrap().iter().find(|m| m["text"] == "Three of them:").unwrap();
    assert_eq!(offered["choices"][1], json!({ "id": "Blue", "label": "Blue" }));
    assert!(browser.focused().await.starts_with("textarea"), "{}", browser.focused().await);
    let tree = browser.accessibility().await;
    assert!(!tree.iter().any(|n| n.role == "button" && n.name == "Blue"), "what was chosen from is over");

    // The panel holds nobody: Escape closes it, and the page before it is one step away.
    browser.press(ESCAPE).await;
    assert_eq!(browser.focused().await, "button Open chat");
    browser.press(SHIFT_TAB).await;
    assert_eq!(browser.focused().await, "button Buy");

    // What comes while it is closed is counted in the button's name.
    api.post(&format!("/conversations/{}/reply", asked["id"].as_str().unwrap()), json!({ "text": "Red it is." }))
        .await
        .ok();
    tree_with(&browser, "button", "Open chat, 1 unread").await;
}
