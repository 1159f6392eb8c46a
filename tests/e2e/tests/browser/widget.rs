//! The widget on pages of others: where it may be, where it may not, and on networks that let no WebSocket through.

use super::{ENTER, chat_conversation, chat_of, count, fetched, file, page_with, picture, pictures, say};
use serde_json::json;
use switchboard_e2e::{Browser, Daemon, Front, Mishap, Shop, Site, Visitor, eventually, http, screenshots};

/// Looks at the page itself: its own button, and how its heading looks.
const OWN: &str = "const h = getComputedStyle(document.querySelector('h1')); \
    document.querySelector('#buy').click(); \
    return [h.color, h.fontSize, getComputedStyle(document.body).backgroundColor, document.querySelector('#bought').textContent, \
            document.documentElement.scrollWidth <= innerWidth];";
const COUNTS: &str = "document.querySelector('#buy').onclick = () => { const o = document.querySelector('#bought'); o.textContent = Number(o.textContent) + 1; }";

#[tokio::test(flavor = "multi_thread")]
async fn the_widget_lives_on_pages_that_are_allowed_and_harms_none() {
    let (site, stranger) = (Site::start().await, Site::start().await);
    let shop = Shop::with("http://127.0.0.1:9").more(&chat_of(&site)).open();
    let daemon = Daemon::start(&shop).await;
    let api = shop.api();
    // The policy that the documentation asks for, and nothing beyond it.
    let (chat, socket) = (shop.public(), shop.public().replace("http:", "ws:"));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob: {chat}; script-src {chat}; connect-src {chat} {socket}"
    );
    site.show(&policy, &page_with(&chat));
    stranger.show("", &page_with(&chat));

    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    browser.open(&format!("{}/", site.origin())).await;
    browser.script(COUNTS, &[]).await.unwrap();
    let before = browser.script(OWN, &[]).await.unwrap();
    browser.click(".launch").await;
    say(&browser, "Do you repair lamps?").await;
    browser.sees("Do you repair lamps?").await;
    let asked = chat_conversation(&api, "to be there", |c| count(c, "Do you repair lamps?") == 1).await;
    let reply = format!("/conversations/{}/reply", asked["id"].as_str().unwrap());
    api.post(&reply, json!({ "text": "We do, on Saturdays." })).await.ok();
    browser.sees("We do, on Saturdays.").await;
    // Each looks as it would alone.
    let look = "const root = document.querySelector('switchboard-chat').shadowRoot; \
                const text = root.querySelector('.me .text'), form = root.querySelector('form'); \
                return [getComputedStyle(text).fontSize, getComputedStyle(text).color, getComputedStyle(form).display];";
    assert_eq!(browser.script(look, &[]).await.unwrap(), json!(["15px", "rgb(255, 255, 255)", "flex"]));
    let after = browser.script(OWN, &[]).await.unwrap();
    assert_eq!((&after[0], &after[1], &after[2], &after[4]), (&before[0], &before[1], &before[2], &json!(true)));
    assert_eq!((&before[3], &after[3]), (&json!("1"), &json!("2")), "the page's own button goes on working");
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "the documented policy is enough");
    pictures(&browser, "widget-elsewhere").await;

    // Elsewhere the widget says so, and neither speaks for the visitor nor disturbs the page.
    browser.open(&format!("{}/", stranger.origin())).await;
    browser.script(COUNTS, &[]).await.unwrap();
    browser.click(".launch").await;
    browser.sees("The chat is not available on this page").await;
    browser.keys("textarea", "Let me in").await;
    let sends = "return document.querySelector('switchboard-chat').shadowRoot.querySelector('.send').disabled";
    assert_eq!(browser.script(sends, &[]).await.unwrap(), json!(true));
    let own = browser.script(OWN, &[]).await.unwrap();
    assert_eq!((&own[0], &own[1], &own[3], &own[4]), (&before[0], &before[1], &json!("1"), &json!(true)));
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|c| !c.contains("Uncaught")), "{complaints:?}");
    browser.screenshot(&screenshots().join("widget-refused.png")).await;
    // Nor does a page get further that speaks for itself: neither the socket nor plain requests.
    let hello = format!("{chat}/chat/site/session");
    let tried = http().post(hello).header("origin", stranger.origin()).body("{}").send().await.unwrap();
    assert_eq!(tried.status(), 403);
    assert_eq!(api.all("/conversations", "conversations").await.len(), 1);
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_socket_gets_through_the_conversation_goes_by_plain_requests() {
    let site = Site::start().await;
    let shop = Shop::with("http://127.0.0.1:9").more(&chat_of(&site)).open();
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let front = Front::before(&shop.public()).await;
    site.show("", &page_with(&front.url()));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    browser.open(&format!("{}/", site.origin())).await;
    browser.click(".launch").await;
    say(&browser, "Is anybody there?").await;
    let asked = chat_conversation(&api, "to be there", |c| count(c, "Is anybody there?") == 1).await;
    assert!(front.sockets_refused() > 0, "a socket was not even tried");
    let id = asked["id"].as_str().unwrap().to_owned();
    let reply = format!("/conversations/{id}/reply");
    api.post(&reply, json!({ "text": "We are." })).await.ok();
    browser.sees("We are.").await;
    chat_conversation(&api, "to be read", |c| c["messages"].as_array().unwrap().iter().any(|m| m["status"] == "read"))
        .await;

    files_go_both_ways(&shop, &browser, &id).await;

    // A message that does not go through says so, and goes when it is asked to: once, though its answer is lost.
    let before = front.messages();
    front.mishaps([Mishap::Refuse; 5]);
    say(&browser, "Can I pay by card?").await;
    browser.sees("Not sent").await;
    assert_eq!(front.messages() - before, 5);
    browser.screenshot(&screenshots().join("widget-failed.png")).await;
    // It is still there, and still failed, after a reload; nobody sent it by themselves.
    browser.reload().await;
    browser.sees("Not sent").await;
    assert_eq!(front.messages() - before, 5);
    let now = chat_conversation(&api, "to be there", |_| true).await;
    assert_eq!(count(&now, "Can I pay by card?"), 0);
    front.mishaps([Mishap::LoseAnswer, Mishap::LoseAnswer]);
    browser.click(".state.bad button").await;
    chat_conversation(&api, "to hold it", |c| count(c, "Can I pay by card?") == 1).await;
    let settled = "const own = [...document.querySelector('switchboard-chat').shadowRoot.querySelectorAll('.m.me')]; \
                   return own.length === 3 && !own.some((m) => /Not sent|Sending/.test(m.textContent)) && own.at(-1).textContent.includes('Sent')";
    browser.wait_for("the message to be shown once, as sent", settled).await;
    assert!(front.messages() - before >= 6);

    // The daemon goes and comes back: what is said meanwhile waits, and arrives once.
    daemon.kill();
    say(&browser, "Still here?").await;
    browser.sees("Waiting to be sent").await;
    daemon.restart().await;
    let whole = chat_conversation(&api, "to go on", |c| count(c, "Still here?") == 1).await;
    api.post(&reply, json!({ "text": "Still here." })).await.ok();
    browser.sees("Still here.").await;
    for text in ["Is anybody there?", "Can I pay by card?", "Still here?"] {
        assert_eq!(count(&whole, text), 1, "{text}: {whole}");
    }
    pictures(&browser, "widget-fallback").await;
}

/// A page whose first WebSocket is refused on the way, and whose later ones are turned away by a daemon that has too many. It notes the
/// longest that is waited for after each.
const TURNED_AWAY: &str = "<script>const later = setTimeout, waits = [], waited = []; \
    window.setTimeout = (f, ms, ...rest) => { waits.push(ms || 0); return later(f, ms, ...rest); }; \
    let sockets = 0; \
    window.WebSocket = class { \
      constructor() { const at = sockets++; later(() => { \
        if (at) { this.onopen(); this.onmessage({ data: '{\"type\":\"error\",\"code\":\"rate_limited\"}' }); } \
        waits.length = 0; \
        this.onclose({ code: at ? 4429 : 1006 }); \
        waited[at] = Math.max(...waits); \
      }, 10); } \
      send() {} close() {} \
    };</script>";

#[tokio::test(flavor = "multi_thread")]
async fn a_widget_that_is_turned_away_waits_though_a_socket_was_refused_before() {
    let site = Site::start().await;
    let shop = Shop::with("http://127.0.0.1:9").more(&chat_of(&site)).open();
    let daemon = Daemon::start(&shop).await;
    site.show("", &page_with(&shop.public()).replace("<script src", &format!("{TURNED_AWAY}<script src")));
    let browser = Browser::start().await;
    browser.open(&format!("{}/", site.origin())).await;
    browser.click(".launch").await;
    let turned_away = "return waited.length > 1 && { refused: waited[0], turned_away: waited[1] }";
    let waited = browser.wait_for("the widget to be turned away", turned_away).await;
    assert_eq!(waited["refused"], json!(100), "the other way is tried at once");
    assert!(waited["turned_away"].as_f64() >= Some(15_000.0), "{waited}");
    drop(daemon);
}

/// A picture from the visitor opens by its link and by nothing like it; one from an agent is shown to the visitor.
async fn files_go_both_ways(shop: &Shop, browser: &Browser, id: &str) {
    let api = shop.api();
    let folder = tempfile::tempdir().unwrap();
    browser.choose_file("input[type=file]", &file(&folder, "shade.png", &picture())).await;
    browser.sees("shade.png").await;
    browser.keys("textarea", "This one.").await;
    let ready = "return !document.querySelector('switchboard-chat').shadowRoot.querySelector('.send').disabled";
    browser.wait_for("the upload", ready).await;
    browser.keys("textarea", ENTER).await;
    let sent = chat_conversation(&api, "to hold the picture", |c| {
        c["messages"].as_array().unwrap().iter().any(|m| m["attachments"][0]["name"] == "shade.png")
    })
    .await;
    let holds = sent["messages"].as_array().unwrap().iter().find(|m| m["text"] == "This one.").unwrap();
    let link = holds["attachments"][0]["url"].as_str().expect("an address");
    let url = format!("{}{link}", shop.admin());
    assert_eq!(fetched(&url).await, (200, picture()), "by its link, without a token");
    assert_eq!(fetched(&url.replace("signature=", "signature=0")).await.0, 403);
    assert_eq!(fetched(url.split('?').next().unwrap()).await.0, 401);

    let upload = format!("{}/api/v1/attachments?conversation={id}&name=ours.png", shop.admin());
    let stored = http().post(upload).bearer_auth(shop.token()).header("content-type", "image/png").body(picture());
    let stored = stored.send().await.unwrap();
    assert_eq!(stored.status(), 201);
    let stored: serde_json::Value = serde_json::from_str(&stored.text().await.unwrap()).unwrap();
    api.post(&format!("/conversations/{id}/reply"), json!({ "text": "Or this?", "attachments": [stored] })).await.ok();
    browser.sees("Or this?").await;
    let seen = "const all = [...document.querySelector('switchboard-chat').shadowRoot.querySelectorAll('.file img')]; \
                return all.length === 2 && all.every((img) => img.naturalWidth === 16) && all.map((img) => img.alt).join()";
    assert_eq!(browser.wait_for("both pictures", seen).await, json!("shade.png,ours.png"));
    eventually("the widget to be idle", || async {
        if browser.page_text().await.contains("Sending") { Err("still sending") } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_waits_sees_their_place() {
    let shop = Shop::with("http://127.0.0.1:9").more("[channels.site]\nkind = \"webchat\"\n").open();
    let _daemon = Daemon::start(&shop).await;
    let mut first = Visitor::at(&shop, None, 0).await.unwrap();
    first.write("1", "I was first").await.unwrap();
    chat_conversation(&shop.api(), "to wait", |c| c["state"] == "queued").await;

    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    browser.open(&format!("{}/chat/site", shop.public())).await;
    browser.click("[aria-haspopup], .launcher, button").await;
    say(&browser, "And I am second").await;
    browser.sees("You are number 2 in the queue").await;
    pictures(&browser, "widget-queue").await;
}
