//! Serves the demo page and the widget with a scripted agent, for whoever works on them. Nothing is stored.

#[path = "../tests/webchat/fake.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod fake;

use std::time::Duration;
use switchboard::http::chat::{Timing, routes};
use switchboard_envelope::{Inbound, Timestamp};
use switchboard_webchat::WebchatConfig;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(8089);
    let fake = fake::Fake::new();
    let config = WebchatConfig { origins: vec!["http://localhost:9999".into()], ..WebchatConfig::default() };
    let state = fake.daemon(config, Timing::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    let _ =
        std::io::Write::write_all(&mut std::io::stdout(), format!("http://127.0.0.1:{port}/chat/site\n").as_bytes());
    let agent = tokio::spawn(agent(fake));
    axum::serve(listener, routes(state)).await.expect("the listener lives");
    agent.abort();
}

/// Answers whoever writes: first the machine, then a person who takes her time.
async fn agent(fake: std::sync::Arc<fake::Fake>) {
    let mut answered = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let heard: Vec<Inbound> =
            fake.store.lock().expect("unpoisoned").ingested.iter().skip(answered).cloned().collect();
        answered += heard.len();
        for inbound in heard {
            let Inbound::Message(m) = inbound else { continue };
            if m.content.text.contains("quiet") {
                continue;
            }
            if m.content.text.contains("refund") {
                fake.reply(
                    &m.thread,
                    None,
                    "Refunds take up to five working days. What is it about?",
                    &[("order", "An order"), ("gift", "A gift card")],
                );
                continue;
            }
            fake.set_queue(&m.thread, Some(2));
            tokio::time::sleep(Duration::from_millis(900)).await;
            fake.set_queue(&m.thread, None);
            fake.wakes.agent_typing("site", &m.thread, Some("Dana"));
            tokio::time::sleep(Duration::from_millis(1500)).await;
            let said: Timestamp = m.at;
            fake.reply(
                &m.thread,
                Some("Dana"),
                &format!("I see, thank you. You wrote that at {said}.\nMore is at https://shop.example/kettles."),
                &[],
            );
        }
    }
}
