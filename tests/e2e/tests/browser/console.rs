//! The console by keyboard: an agent answers an SMS, sees why it came, closes it, and looks at the board.

use super::{ENTER, ESCAPE, fetched, file, picture, pictures};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use switchboard_e2e::{Browser, Daemon, Pack, Provider, Shop, eventually, screenshots, sid};

const ANN_LEE: &str = "+15005550009";
const OTHER: &str = "+15005550010";
const TOKEN: &str = "a-token-for-ann-and-nobody-else";
const PACK: &str = r#"
zone: Europe/Paris
queues:
  billing:
    sla: { first_response: 10m, warn: 80% }
    offer: { timeout: 10m }
  everyone: {}
agents:
  ann: { name: Ann, capacity: 1 }
rules:
  - name: Shouting is urgent
    when: { text: { matches: '!!!' } }
    then: { priority: urgent }
    continue: true
  - name: Refunds go to billing
    when: { text: { matches: '(?i)\brefund\b' } }
    then: { tag: refund, queue: billing }
default: { queue: everyone }
"#;

fn shop(provider: &Provider) -> Shop {
    let token = "[admin.tokens.ann]\ntoken = { file = \"ann.token\" }\nscopes = [\"agent\"]\nagent = \"ann\"\n";
    with_token(Shop::with(&provider.base_url()).pack(PACK).more(token).open())
}

fn with_token(shop: Shop) -> Shop {
    let path = shop.folder().join("ann.token");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    writeln!(file, "{TOKEN}").unwrap();
    shop
}

async fn signed_in(browser: &Browser, shop: &Shop) {
    super::signed_in_with(browser, shop, TOKEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_explains_and_closes_without_a_mouse() {
    let provider = Provider::start().await;
    let shop = shop(&provider);
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;

    shop.sms(ANN_LEE, "Where is my refund?", &sid("1")).deliver(&hook).await.unwrap();
    api.conversation(&format!("phone:{ANN_LEE}"), "to be offered", |c| c["state"] == "offered").await;
    browser.press("go").await;
    browser.sees("Where is my refund?").await;
    browser.press("jo").await;
    browser.sees("Offered to you").await;
    browser.press("a").await;
    api.conversation(&format!("phone:{ANN_LEE}"), "to be Ann's", |c| c["state"] == "assigned").await;
    browser.sees("yours").await;

    // What it costs is shown before it is sent, choices and all.
    browser.press("r").await;
    browser.wait_for("the field", "return document.activeElement.nodeName === 'TEXTAREA'").await;
    browser.press(&"It is on its way. ".repeat(8)).await;
    browser.sees("1 segment · 17 left").await;
    browser.press("How would you like to be told about it?").await;
    browser.sees("2 segments").await;
    browser.press(ESCAPE).await;
    browser.press("c").await;
    browser.wait_for("a choice", "return document.activeElement.getAttribute('aria-label') === 'Choice 1'").await;
    browser.press("By mail").await;
    browser.press(ENTER).await;
    browser.wait_for("another", "return document.activeElement.getAttribute('aria-label') === 'Choice 2'").await;
    browser.press("By phone, in the evening, at the number that you have had from me before").await;
    browser.sees("2 segments").await;
    let (width, height) = (1440, 900);
    browser.look(width, height, "light").await;
    pictures(&browser, "console-choices").await;
    browser.press(ESCAPE).await;
    browser.press(ENTER).await;
    let sent = provider.sent_to(ANN_LEE, 1).await;
    let text = &sent[0].body;
    assert!(
        text.ends_with("\n\n1. By mail\n2. By phone, in the evening, at the number that you have had from me before"),
        "{text}"
    );
    provider.status(&sent[0], "delivered", &shop).await;
    browser.sees("delivered ✓✓").await;
    assert_eq!(browser.script("return document.querySelectorAll('.choice-row').length", &[]).await.unwrap(), json!(0));

    // Why it came here, in sentences.
    browser.press(ESCAPE).await;
    browser.press("w").await;
    browser.sees("Refunds go to billing").await;
    let why = browser
        .wait_for("the explanation", "return document.querySelector('[data-panel=why] .sentence')?.textContent")
        .await;
    let why = why.as_str().unwrap();
    assert!(why.ends_with('.') && why.split(' ').count() > 3, "no sentence: {why}");
    let page = browser.page_text().await;
    for told in ["matched", "did not match", "1 of 2 matched", "Agents considered", "pack.yaml:"] {
        assert!(page.contains(told), "the explanation does not say {told:?}: {page}");
    }
    let told =
        "return [...document.querySelectorAll('[data-panel=why] .sentence')].map((s) => s.textContent).join(' ')";
    let told = browser.script(told, &[]).await.unwrap().to_string();
    let hour = told.split("Later, at ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    assert!(hour.len() == "14:20".len(), "the hour as the reader's clock shows it, in: {told}");
    pictures(&browser, "console-why").await;
    browser.press(ESCAPE).await;

    // Closed, and out of the list of what is Ann's.
    browser.press("e").await;
    api.conversation(&format!("phone:{ANN_LEE}"), "to be closed", |c| c["state"] == "closed").await;
    browser.sees("Closed ").await;
    browser
        .wait_for(
            "the button to open it again",
            "return [...document.querySelectorAll('.bar button')].some((b) => b.textContent.startsWith('Reopen'))",
        )
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// The list of messages keeps its order, and so the answer is to what the agent saw last: also where a message arrives by itself
/// while the conversation is still being fetched.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_writes_while_a_conversation_opens_comes_last_and_can_be_answered() {
    let provider = Provider::start().await;
    let shop = shop(&provider);
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;
    browser.press("go").await;
    let who = format!("phone:{ANN_LEE}");
    for text in ["Where is my refund?", "It was two weeks ago"] {
        shop.sms(ANN_LEE, text, &sid(text)).deliver(&hook).await.unwrap();
        browser.sees(text).await;
    }
    api.conversation(&who, "to be offered", |c| c["state"] == "offered").await;
    browser.press("jo").await;
    browser.sees("Offered to you").await;
    browser.press("a").await;
    browser.sees("yours").await;

    // The answer to the question for the messages stays away until the customer has written again.
    browser
        .before_each_page(
            "const ask = window.fetch; window.held = []; window.fetch = (url, ...rest) => \
             /\\/conversations\\/[^/?]+(\\?|$)/.test(String(url)) && !window.free \
             ? ask(url, ...rest).then((answer) => new Promise((go) => held.push(() => go(answer)))) : ask(url, ...rest);",
        )
        .await;
    browser.reload().await;
    browser.wait_for("the question for the messages", "return window.held.length > 0").await;
    shop.sms(ANN_LEE, "Hello?", &sid("hello")).deliver(&hook).await.unwrap();
    browser
        .wait_for(
            "it",
            "return [...document.querySelectorAll('.messages li')].some((m) => m.textContent.includes('Hello?'))",
        )
        .await;
    browser.script("window.free = true; window.held.forEach((go) => go());", &[]).await.unwrap();
    browser.sees("It was two weeks ago").await;
    let order = "const all = [...document.querySelectorAll('.messages li')].map((m) => m.textContent); \
                 return ['Where is my', 'two weeks', 'Hello?'].map((text) => all.findIndex((m) => m.includes(text)))";
    let order = browser.script(order, &[]).await.unwrap();
    let order: Vec<i64> = order.as_array().unwrap().iter().map(|at| at.as_i64().unwrap()).collect();
    assert!(order[0] >= 0 && order.is_sorted(), "{order:?}");

    browser.press("r").await;
    browser.wait_for("the field", "return document.activeElement.nodeName === 'TEXTAREA'").await;
    browser.press("It is on its way.").await;
    browser.press(ENTER).await;
    let sent = provider.sent_to(ANN_LEE, 1).await;
    assert_eq!(sent[0].body, "It is on its way.");
}

/// The messages of the conversation that is open, each with its status. `answers` are the messages that the daemon is made to give for
/// it, and `meanwhile` is one that the stream tells before the answer is there.
const FETCHED_AGAIN: &str = "const [answers, meanwhile] = arguments; window.shown = null; \
    const store = [...document.querySelectorAll('link')].find((l) => l.href.endsWith('/store.js')).href; \
    import(store).then(async ({ state, loadDetail, putMessage }) => { \
      const [id] = state.details.keys(); const ask = window.fetch; \
      window.fetch = async (...of) => { \
        const answer = await ask(...of); \
        if (!/\\/conversations\\/[^/?]+(\\?|$)/.test(of[0])) return answer; \
        const whole = await answer.json(); \
        if (meanwhile) putMessage(id, meanwhile); \
        return new Response(JSON.stringify({ ...whole, messages: answers }), { headers: answer.headers }); \
      }; \
      await loadDetail(id); window.fetch = ask; \
      const detail = state.details.get(id); \
      window.shown = { messages: detail.messages.map((m) => `${m.id} ${m.status}`), more: detail.earlier !== null }; \
    });";

/// What the console shows is never less than true: neither a gap behind an outage nor a status of before.
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_fetched_again_has_no_gap_and_no_older_status() {
    let provider = Provider::start().await;
    let shop = shop(&provider);
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;
    browser.press("go").await;
    shop.sms(ANN_LEE, "Where is my refund?", &sid("1")).deliver(&hook).await.unwrap();
    api.conversation(&format!("phone:{ANN_LEE}"), "to be offered", |c| c["state"] == "offered").await;
    browser.sees("Where is my refund?").await;
    browser.press("jo").await;
    browser.sees("Offered to you").await;
    let opened = "return [...document.querySelectorAll('.messages li')].some((m) => m.textContent.includes('refund'))";
    browser.wait_for("its messages", opened).await;
    let message = |id: &str, minute: u32, status: &str| {
        let at = format!("2100-01-01T00:{minute:02}:00.000Z");
        json!({ "id": id, "at": at, "direction": "out", "kind": "text", "text": id, "status": status, "attachments": [], "choices": [] })
    };
    let fetched_again = |answers: Vec<Value>, meanwhile: Value| {
        let browser = &browser;
        async move {
            browser.script(FETCHED_AGAIN, &[json!(answers), meanwhile]).await.unwrap();
            browser.wait_for("the answer", "return window.shown").await
        }
    };
    // More than a page came while the stream was away: nothing of it is shown yet.
    let page = || vec![message("x2", 2, "sent"), message("x1", 1, "sent")];
    let shown = fetched_again(page(), Value::Null).await;
    assert_eq!(shown, json!({ "messages": ["x1 sent", "x2 sent"], "more": true }));
    // The stream is ahead of the answer.
    let shown = fetched_again(page(), message("x2", 2, "read")).await;
    assert_eq!(shown["messages"], json!(["x1 sent", "x2 read"]));
    let shown = fetched_again(page(), message("x3", 3, "sent")).await;
    assert_eq!(shown["messages"], json!(["x1 sent", "x2 sent", "x3 sent"]));
    // What the stream told before is older than the answer.
    let answer = vec![message("x3", 3, "delivered"), message("x2", 2, "read")];
    assert_eq!(fetched_again(answer, Value::Null).await["messages"], json!(["x1 sent", "x2 read", "x3 delivered"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_shows_queues_and_clocks_and_a_file_opens_by_its_link() {
    let provider = Provider::start().await;
    let shop = shop(&provider);
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;

    // Ann has room for one: the first is offered to her, and the second waits.
    shop.sms(ANN_LEE, "refund please", &sid("1")).deliver(&hook).await.unwrap();
    api.conversation(&format!("phone:{ANN_LEE}"), "to be offered", |c| c["state"] == "offered").await;
    shop.sms(OTHER, "my refund, too", &sid("2")).deliver(&hook).await.unwrap();
    api.conversation(&format!("phone:{OTHER}"), "to wait", |c| c["state"] == "queued").await;
    browser.press("gb").await;
    browser.sees("Clocks running out").await;
    let row = "const row = [...document.querySelectorAll('[aria-label=Queues] tbody tr')].find((r) => r.textContent.startsWith('billing')); \
               const cells = [...row.querySelectorAll('td.num')].map((c) => c.textContent); \
               return cells[0] === '1' && cells[1] === '1' && cells.join('|');";
    browser.wait_for("one that waits in billing and one that is offered", row).await;
    let clocks = "const all = [...document.querySelectorAll('.clocks li')]; \
                  return all.length === 2 && all.every((li) => /\\d+:\\d\\d left/.test(li.textContent)) && all.map((li) => li.textContent).join('|')";
    let told = browser.wait_for("two clocks that run", clocks).await;
    assert!(told.as_str().unwrap().contains("waiting in billing"), "{told}");
    browser.sees("1 / 1").await;
    // What came today is drawn, and told to who cannot see it.
    let plots = "const [arrivals, ...others] = document.querySelectorAll('.plot'); \
                 const told = arrivals?.querySelector('tbody td')?.textContent; \
                 return others.length === 2 && arrivals.querySelector('b').textContent === '2' && \
                   [told, arrivals.querySelectorAll('.plot-bar').length, arrivals.querySelector('caption').textContent].join('|')";
    let told = browser.wait_for("the plots", plots).await;
    assert!(["2|1|Arrivals by hour", "1|2|Arrivals by hour"].contains(&told.as_str().unwrap()), "{told}");
    pictures(&browser, "console-board").await;

    // An agent sends a file from the console: what is shown comes by a link that needs no session, for a while.
    browser.press("go").await;
    browser.press("jo").await;
    browser.sees("Offered to you").await;
    browser.press("a").await;
    browser.sees("yours").await;
    let folder = tempfile::tempdir().unwrap();
    browser.choose_file(".extras input[type=file]", &file(&folder, "receipt.png", &picture())).await;
    browser.sees("receipt.png").await;
    browser.keys("textarea", "Here is the receipt.").await;
    browser.wait_for("the upload", "return !document.querySelector('.bar .primary').disabled").await;
    browser.keys("textarea", ENTER).await;
    let sent = provider.sent_to(ANN_LEE, 1).await;
    assert_eq!(sent[0].body, "Here is the receipt.");
    let shown = "const img = document.querySelector('.messages .picture img'); return img && img.naturalWidth === 16 && img.src";
    let src = browser.wait_for("the picture", shown).await;
    let src = src.as_str().unwrap();
    assert!(src.contains("signature="), "{src}");
    assert_eq!(fetched(src).await, (200, picture()));
    let (until, rest) = src.split_once("until=").map(|(_, rest)| rest.split_once('&').unwrap()).unwrap();
    let later = src.replace(until, &format!("{}", until.parse::<i64>().unwrap() + 1));
    for refused in [later, src.replace("/attachments/0", "/attachments/1"), format!("{src}0")] {
        assert_eq!(fetched(&refused).await.0, 403, "{refused}");
    }
    assert!(rest.starts_with("signature="));
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_of_a_text_is_what_its_channel_sends() {
    let provider = Provider::start().await;
    let token = "[admin.tokens.ann]\ntoken = { file = \"ann.token\" }\nscopes = [\"agent\"]\nagent = \"ann\"\n";
    let shop = Shop::with(&provider.base_url()).pack(PACK).sms("smart_encoding = true\nmax_segments = 2");
    let shop = with_token(shop.more(token).open());
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;
    shop.sms(ANN_LEE, "Where is my refund?", &sid("1")).deliver(&hook).await.unwrap();
    api.conversation(&format!("phone:{ANN_LEE}"), "to be offered", |c| c["state"] == "offered").await;
    browser.press("go").await;
    browser.press("jo").await;
    browser.sees("Offered to you").await;
    browser.press("a").await;
    browser.sees("yours").await;

    browser.press("r").await;
    browser.wait_for("the field", "return document.activeElement.nodeName === 'TEXTAREA'").await;
    // 80 characters, of which one would need the longer encoding if it went out as it stands.
    let text = format!("It\u{2019}s on its way. {}", "x".repeat(63));
    browser.press(&text).await;
    browser.sees("1 segment · 80 left").await;
    browser.press(&"x".repeat(240)).await;
    browser.sees("3 segments, and this channel sends at most 2").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// A row of the rules page as its cells, and whether it is drawn as one that never matched.
fn rule_row(rule: &str, hits: &str, in_all: &str, off: bool) -> String {
    format!(
        "const row = [...document.querySelectorAll('[aria-label=Rules] tbody tr')].find((r) => r.textContent.includes({rule:?})); \
         const cells = row ? [...row.querySelectorAll('td.num')].map((c) => c.textContent) : []; \
         return cells[2] === {hits:?} && cells[3] === {in_all:?} && row.classList.contains('off') === {off}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_page_counts_what_matched_and_shows_what_never_did_and_a_trial() {
    let provider = Provider::start().await;
    let shop = shop(&provider);
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    for (from, id) in [(ANN_LEE, "1"), (OTHER, "2")] {
        shop.sms(from, "Where is my refund?", &sid(id)).deliver(&hook).await.unwrap();
        api.conversation(&format!("phone:{from}"), "to be in billing", |c| c["queue"] == "billing").await;
    }
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;
    browser.open(&format!("{}/console/rules", shop.admin())).await;
    browser.wait_for("two hits", &rule_row("Refunds go to billing", "2", "2", false)).await;
    browser.wait_for("no hit", &rule_row("Shouting is urgent", "never", "0", true)).await;
    browser.sees("2 rules, 1 that never matched since").await;
    let hash = api.get("/rules").await.ok()["hash"].as_str().unwrap().to_owned();
    browser.sees(&hash[..12]).await;
    pictures(&browser, "console-rules").await;

    // Another pack comes in force: what matched before counts in all, and not for it.
    shop.write_pack(&Pack { yaml: format!("{PACK}# another\n") });
    api.post("/rules/reload", json!({})).await.ok();
    browser.reload().await;
    browser.wait_for("no hit of the new pack", &rule_row("Refunds go to billing", "never", "2", true)).await;
    browser.sees("(1 of them did under earlier packs)").await;

    // A trial is shown with both packs beside each other.
    shop.write_pack(&Pack { yaml: format!("{PACK}# tried\n") });
    api.post("/rules/canary", json!({ "share": "100%" })).await.ok();
    browser.reload().await;
    browser.sees("A pack is being tried").await;
    browser.sees("100 % of the new conversations").await;
    let opened = "const row = [...document.querySelectorAll('[aria-label=\"Both packs\"] tbody tr')].find((r) => r.textContent.startsWith('Opened')); \
                  return row && [...row.querySelectorAll('td.num')].map((c) => c.textContent).join('|')";
    assert_eq!(browser.wait_for("the counts of both", opened).await, json!("0|0"));
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_of_the_packs_own_is_chosen_and_outlives_a_reload() {
    let provider = Provider::start().await;
    let names = "presence: { names: { limited: available, lunch: away } }\n";
    let token = "[admin.tokens.ann]\ntoken = { file = \"ann.token\" }\nscopes = [\"agent\"]\nagent = \"ann\"\n";
    let shop = with_token(Shop::with(&provider.base_url()).pack(&format!("{names}{PACK}")).more(token).open());
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let is = async |name: &str, counts_as: &str| {
        eventually(&format!("Ann to be in {name}"), || async {
            let ann = api.get("/agents").await.ok()["agents"][0].clone();
            let right = ann["presence_name"] == name && ann["presence"] == counts_as;
            if right { Ok(()) } else { Err(ann.to_string()) }
        })
        .await;
    };
    let shown =
        |name: &str| format!("return document.querySelector('button.presence')?.textContent.includes({name:?})");
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;
    is("available", "available").await;

    for (name, counts_as) in [("limited", "available"), ("lunch", "away")] {
        browser.click("button.presence").await;
        browser.sees(&format!("counts as {counts_as}")).await;
        browser.screenshot(&screenshots().join("console-presence.png")).await;
        browser.press(name).await;
        browser.press(ENTER).await;
        is(name, counts_as).await;
        browser.wait_for(name, &shown(name)).await;
        // Coming back makes nobody available who chose something else.
        browser.reload().await;
        browser.sees("Mine").await;
        browser.wait_for(name, &shown(name)).await;
        is(name, counts_as).await;
    }

    // Another pack does not know it: who was at lunch is still away, and their console makes them nothing else when it is opened.
    shop.write_pack(&Pack { yaml: PACK.into() });
    api.post("/rules/reload", json!({})).await.ok();
    is("away", "away").await;
    for _ in 0..2 {
        browser.reload().await;
        browser.sees("Mine").await;
        browser.wait_for("away", &shown("away")).await;
        is("away", "away").await;
    }

    // A console that is open hears of the presences of the next pack.
    shop.write_pack(&Pack { yaml: format!("{names}{PACK}") });
    api.post("/rules/reload", json!({})).await.ok();
    eventually("the menu to have what the pack has", || async {
        browser.click("button.presence").await;
        browser.sees("you keep what you have").await;
        let page = browser.page_text().await;
        browser.press(ESCAPE).await;
        if page.contains("counts as available") { Ok(()) } else { Err(page) }
    })
    .await;

    // Who comes back with a name that counted as available is available.
    browser.click("button.presence").await;
    browser.press("limited").await;
    browser.press(ENTER).await;
    is("limited", "available").await;
    shop.write_pack(&Pack { yaml: PACK.into() });
    api.post("/rules/reload", json!({})).await.ok();
    is("available", "available").await;
    browser.reload().await;
    browser.wait_for("available", &shown("available")).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // Where the daemon does not say what a name counts as, nothing is asked for.
    let unanswered = "const asked = window.fetch; window.presenceAsked = false; window.fetch = (at, ...more) => { \
                      if (String(at).includes('/presence')) window.presenceAsked = true; \
                      return String(at).includes('/agents?') ? Promise.reject(new TypeError('cut')) : asked(at, ...more); };";
    browser.before_each_page(unanswered).await;
    browser.reload().await;
    browser.sees("the daemon does not answer").await;
    assert_eq!(browser.script("return window.presenceAsked", &[]).await, Ok(json!(false)));
}
