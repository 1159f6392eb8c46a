//! Over the quickstart: a customer types in the widget, an agent answers in the console.

use super::{BACKSPACE, pictures, say};
use std::time::Duration;
use switchboard_e2e::{Backend, Browser, Daemon, Shop, on_every_backend, screenshots};

/// A link that the quickstart printed, the newest that starts so.
fn printed(daemon: &Daemon<'_>, starts: &str) -> String {
    let said = daemon.said();
    let mut links = said.split_whitespace().filter(|word| word.starts_with(starts));
    links
        .next_back()
        .unwrap_or_else(|| panic!("the quickstart printed no link to {starts}:\n{said}"))
        .trim_matches(['`', '.', ','])
        .to_owned()
}

on_every_backend! {
    a_customer_and_an_agent_talk_through_the_pages,
}

async fn a_customer_and_an_agent_talk_through_the_pages(backend: Backend) {
    let shop = match backend.url() {
        None => Shop::quickstart(),
        Some(url) => {
            let on_broker = Shop::quickstart().with_env("SWITCHBOARD__LOG__BACKEND", "nats");
            on_broker.with_env("SWITCHBOARD__LOG__SERVERS", &url)
        }
    };
    let mut daemon = Daemon::start(&shop).await;
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;

    // The customer's page, and a question that no rule answers.
    let customer = browser.tab().await;
    browser.open(&printed(&daemon, &format!("{}/chat/site", shop.public()))).await;
    browser.click("[aria-haspopup], .launcher, button").await;
    say(&browser, "Do you open on Sunday?").await;
    browser.sees("Do you open on Sunday?").await;

    // The agent's page: the conversation rings, is opened, is answered.
    let agent = browser.new_tab().await;
    browser.open(&printed(&daemon, &format!("{}/console#login=", shop.admin()))).await;
    browser.sees("Do you open on Sunday?").await;
    assert!(!browser.url().await.contains("login="), "the one-time code stays in the address");
    browser.click(".rows [role=row]").await;
    say(&browser, "Yes, from ten to four.").await;
    browser.sees("Yes, from ten to four.").await;

    browser.switch(&customer).await;
    browser.sees("Yes, from ten to four.").await;

    // What the customer read, the agent sees; and each sees the other write.
    browser.switch(&agent).await;
    browser.sees("read ✓✓").await;
    browser.keys("textarea", "One moment").await;
    browser.switch(&customer).await;
    browser.sees("is typing").await;
    browser.keys("textarea", "Thank").await;
    browser.switch(&agent).await;
    browser.sees("is typing").await;
    browser.screenshot(&screenshots().join("typing-console.png")).await;
    browser.keys("textarea", &BACKSPACE.repeat(20)).await;
    browser.switch(&customer).await;
    browser.keys("textarea", &BACKSPACE.repeat(20)).await;
    pictures(&browser, "typing").await;

    // A rule answers by itself.
    say(&browser, "I want a refund").await;
    browser.sees("refunds take up to five working days").await;
    browser.switch(&agent).await;
    browser.sees("I want a refund").await;

    pictures(&browser, "console").await;
    browser.switch(&customer).await;
    pictures(&browser, "widget").await;

    // A reload keeps the conversation, and so does a new daemon over the same data.
    browser.reload().await;
    browser.sees("Yes, from ten to four.").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    daemon.kill();
    daemon.restart().await;
    say(&browser, "Are you still there?").await;
    let sent = "const find = (root) => { for (const e of root.querySelectorAll('*')) { if (e.matches('.m.me')) last = e; \
                if (e.shadowRoot) find(e.shadowRoot); } }; let last; find(document); \
                return last?.textContent.includes('still there') && last.textContent.includes('Sent');";
    browser.wait_for("the message to be sent", sent).await;
    browser.switch(&agent).await;
    // The restart signed nobody out: the page as it was, loaded again.
    browser.reload().await;
    browser.sees("Are you still there?").await;
    browser.click(".rows [role=row]").await;
    say(&browser, "Still here.").await;
    browser.sees("Still here.").await;
    browser.switch(&customer).await;
    browser.sees("Still here.").await;
    let status = daemon.terminate(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0));
}
