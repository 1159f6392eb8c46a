//! An answer that cannot leave: the agent sees it in the list and in the conversation, with its reason, and when it has left.

use super::{ENTER, ESCAPE, pictures};
use serde_json::json;
use std::time::Duration;
use switchboard_e2e::{Browser, Daemon, Provider, Shop, eventually_within, sid};

const CUSTOMERS: [&str; 2] = ["+15005550009", "+15005550010"];
const PACK: &str = "queues: { everyone: { offer: { timeout: 10m } } }\nagents: { ann: { name: Ann, capacity: 5 } }\n\
    default: { queue: everyone }\n";

/// Signs in by a link that the command makes.
async fn signed_in(browser: &Browser, shop: &Shop) {
    let made = shop.command(&["agents", "login", "ann"]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    browser.open(String::from_utf8_lossy(&made.stdout).trim()).await;
    browser.sees("Mine").await;
    browser.wait_for("the bar", "return document.querySelector('.who-am-i')?.textContent.includes('Ann')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_leave_is_seen_in_the_list_and_in_the_conversation() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).pack(PACK).open();
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in(&browser, &shop).await;
    for (customer, text) in CUSTOMERS.into_iter().zip(["Where is my lamp?", "Do you sell shades?"]) {
        shop.sms(customer, text, &sid(customer)).deliver(&hook).await.unwrap();
        let offered = |c: &serde_json::Value| c["state"] == "offered";
        api.conversation(&format!("phone:{customer}"), "to be offered", offered).await;
        browser.press("a").await;
        browser.sees("yours").await;
        api.conversation(&format!("phone:{customer}"), "to be Ann's", |c| c["state"] == "assigned").await;
    }
    provider.down().await;
    browser.press("r").await;
    browser.wait_for("the field", "return document.activeElement.nodeName === 'TEXTAREA'").await;
    browser.press("In every colour.").await;
    browser.press(ENTER).await;
    browser.sees("Our answer has not left yet").await;
    let told = browser.wait_for("the reason", "const told = document.querySelector('.waiting-bar span')?.textContent; return told?.includes('left yet: ') && told").await;
    assert!(told.as_str().unwrap().len() > "Our answer has not left yet: ".len(), "{told}");
    let row = "const row = [...document.querySelectorAll('.row')].find((r) => r.textContent.includes('In every colour')); \
               return row?.textContent.includes('not sent yet') && row.textContent";
    let row = browser.wait_for("the row to say so", row).await;
    assert!(!row.as_str().unwrap().contains("customer’s turn"), "{row}");
    let state = "return document.querySelector('.message.out .state.warn')?.textContent.includes('not sent yet')";
    browser.wait_for("the message to say so", state).await;
    let heads = "return [...document.querySelectorAll('.group')].map((g) => g.textContent).join('|')";
    let heads = browser.script(heads, &[]).await.unwrap();
    assert!(heads.as_str().unwrap().contains("Not sent yet"), "{heads}");
    browser.press(ESCAPE).await;
    pictures(&browser, "console-unsent").await;

    // Where nothing leaves at all, the bar says what ends that.
    api.post("/channels/support-sms/pause", json!({})).await.ok();
    browser.script("location.reload()", &[]).await.unwrap();
    let command = "const told = document.querySelector('.waiting-bar span'); \
                   return [...told?.querySelectorAll('code') ?? []].map((c) => c.textContent).join('|') === \
                   'support-sms|switchboard channels resume support-sms' && told.textContent";
    let told = browser.wait_for("what ends the pause", command).await;
    assert!(
        told.as_str()
            .unwrap()
            .ends_with("is paused: paused by an operator; then: switchboard channels resume support-sms")
    );
    api.post("/channels/support-sms/resume", json!({})).await.ok();

    // Once the provider is there it leaves by itself, and nothing is said of it any more.
    provider.up().await;
    // The waits between attempts grow, and how far they have depends on the machine.
    eventually_within(Duration::from_secs(60), "the answer at the provider", || async {
        let sent: Vec<String> = provider.sent().into_iter().map(|s| s.body).collect();
        if sent == ["In every colour."] { Ok(()) } else { Err(format!("{sent:?}")) }
    })
    .await;
    browser.sees("sent ✓").await;
    browser.wait_for("the bar to go", "return !document.querySelector('.waiting-bar')").await;
    browser.sees("customer’s turn").await;
}
