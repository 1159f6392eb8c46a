//! The console's page of what is held back: what may have been sent, what was refused, what could not be read.

use super::{ESCAPE, pictures, signed_in_with};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;
use switchboard_e2e::{Browser, Daemon, Provider, Shop, Step, eventually_within, sid};

const CUSTOMERS: [&str; 3] = ["+15551230001", "+15551230002", "+15551230003"];
const TOKEN: &str = "a-token-of-a-supervisor-and-nobody-else";
const SUPERVISOR: &str =
    "[admin.tokens.sue]\ntoken = { file = \"sue.token\" }\nscopes = [\"agent\", \"supervisor\"]\nagent = \"sue\"\n";
const PACK: &str = "queues: { everyone: {} }\nagents: { sue: { name: Sue, capacity: 3 } }\nreplies: { refund: \"Your refund is on its way.\" }\n\
    rules:\n  - { name: Refunds, when: { content: { word: refund } }, then: { reply: refund } }\ndefault: { queue: everyone }\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_is_sent_again_or_dropped_or_read_again_from_its_page() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).pack(PACK).more(SUPERVISOR).open();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(shop.folder().join("sue.token")).unwrap();
    writeln!(file, "{TOKEN}").unwrap();
    let _daemon = Daemon::start(&shop).await;
    let (api, hook) = (shop.api(), shop.hook("support-sms"));
    // One that may have been sent, one that was refused for good, and a delivery of somebody else's account.
    for (customer, fault) in CUSTOMERS.into_iter().zip([Step::ReadAndReset, Step::bad_request(21_617)]) {
        provider.next(fault);
        let asked = provider.requests();
        shop.sms(customer, "refund", &sid(customer)).deliver(&hook).await.unwrap();
        provider.asked(asked + 1).await;
    }
    let strange =
        shop.sms(CUSTOMERS[2], "hello", &sid("strange")).with("AccountSid", "AC11111111111111111111111111111111");
    strange.deliver(&hook).await.unwrap();
    let held = |list: &'static str, key: &'static str, wanted: usize| {
        let api = api.clone();
        async move {
            eventually_within(Duration::from_secs(60), &format!("{wanted} of {key}"), || async {
                let rows = api.all(list, key).await;
                if rows.len() == wanted { Ok(()) } else { Err(format!("{rows:?}")) }
            })
            .await;
        }
    };
    held("/dead-letters", "dead_letters", 2).await;
    held("/quarantine", "quarantine", 1).await;

    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    signed_in_with(&browser, &shop, TOKEN).await;
    let page = |tab: &str| format!("{}/console/held/{tab}", shop.admin());
    browser.open(&page("parked")).await;
    browser.sees("no answer:").await;
    pictures(&browser, "held-parked").await;
    // What could mean twice is asked about first, and not done when somebody thinks better of it.
    let before = provider.requests();
    browser.click("[aria-label^='Send again']").await;
    browser.sees("the customer gets it twice").await;
    browser.click("dialog[open] .actions button:first-child").await;
    browser.wait_for("the question to be gone", "return !document.querySelector('dialog[open]')").await;
    assert_eq!(provider.requests(), before);
    browser.click("[aria-label^='Send again']").await;
    browser.click("dialog[open] .actions button:last-child").await;
    provider.sent_to(CUSTOMERS[0], 1).await;
    browser.sees("Nothing is parked").await;

    browser.open(&page("dead")).await;
    browser.sees("21617").await;
    browser.click("[aria-label^='Drop']").await;
    browser.sees("The customer does not get it from us").await;
    browser.click("dialog[open] .actions button:last-child").await;
    browser.sees("Nothing was given up").await;
    held("/dead-letters", "dead_letters", 0).await;
    assert!(provider.sent().iter().all(|s| s.to != CUSTOMERS[1]), "it was dropped");

    browser.open(&page("quarantine")).await;
    browser.sees("Not understood").await;
    browser.click("[aria-label^='Show raw']").await;
    browser.sees("AccountSid=AC11111111111111111111111111111111").await;
    pictures(&browser, "held-raw").await;
    browser.press(ESCAPE).await;
    // Nobody has mended anything yet: it stays, and the page says why.
    browser.click("[aria-label^='Read again']").await;
    browser.sees("AccountSid").await;
    held("/quarantine", "quarantine", 1).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}
