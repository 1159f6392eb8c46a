//! Mails in somebody's name that nobody proved, or that DMARC disproved, with a picture in the page: what the agent sees of both.

use super::pictures;
use serde_json::json;
use switchboard_e2e::{Browser, Daemon, Dovecot, Shop};

const PACK: &str = "queues: { everyone: {} }\nagents: { ann: { name: Ann, capacity: 5 } }\n\
    default: { queue: everyone }\n";
const PROOF: &str = "Authentication-Results: mx.shop.example; dmarc=pass header.from=customer.example\r\n";
const DISPROOF: &str = "Authentication-Results: mx.shop.example; dmarc=fail header.from=customer.example\r\n";

/// With a logo in its page and a file beside it.
fn mail(proof: &str, number: usize, words: &str) -> String {
    let png =
        "iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC";
    format!(
        "{proof}From: Carl <carl@customer.example>\r\nTo: support@shop.example\r\nSubject: Invoice 4711\r\nMessage-ID: <{number}@customer.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n\
         --r\r\nContent-Type: text/html\r\n\r\n<p>{words}</p><img src=\"cid:logo@x\">\r\n\
         --r\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n{png}\r\n--r--\r\n\
         --m\r\nContent-Type: application/pdf; name=bill.pdf\r\nContent-Disposition: attachment\r\n\r\nbill\r\n--m--\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_sees_that_a_sender_was_not_proved_and_which_files_were_attached() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let channel = format!("{}authentication_results = [\"mx.shop.example\"]\n", dovecot.channel(""));
    let shop = Shop::with("http://127.0.0.1:9").pack(PACK).more(&channel).open();
    let _daemon = Daemon::start(&shop).await;
    let mut client = dovecot.client().await;
    client.append(&mail(PROOF, 1, "My lamp flickers.")).await.expect("Dovecot takes it");
    client.append(&mail("", 2, "We have a new bank account.")).await.expect("Dovecot takes it");
    client.append(&mail(DISPROOF, 3, "Send the lamp elsewhere.")).await.expect("Dovecot takes it");
    let browser = Browser::start().await;
    browser.look(1440, 900, "light").await;
    let made = shop.command(&["agents", "login", "ann"]);
    browser.open(String::from_utf8_lossy(&made.stdout).trim()).await;
    browser.sees("Mine").await;
    let rows = "const rows = [...document.querySelectorAll('.row')].filter((r) => r.textContent.includes('Carl')); \
                return rows.length === 3 && rows.map((r) => r.textContent)";
    let rows = browser.wait_for("all in the list", rows).await;
    let marked = |words: &str, mark: &str| {
        let row = rows.as_array().into_iter().flatten().filter_map(|r| r.as_str()).find(|r| r.contains(words));
        row.unwrap_or_else(|| panic!("{words}: {rows}")).contains(mark)
    };
    assert!(
        !marked("My lamp flickers.", "sender") && marked("We have a new bank account.", "sender not proved"),
        "{rows}"
    );
    assert!(marked("Send the lamp elsewhere.", "sender disproved"), "{rows}");
    let open = "const row = [...document.querySelectorAll('.row')].find((r) => r.textContent.includes('bank account')); \
                row.click(); return true";
    browser.wait_for("the forged one to be open", open).await;
    let author = "return document.querySelector('.message.in .meta .unproved')?.textContent === 'sender not proved'";
    browser.wait_for("the message to say so", author).await;
    let files = "const body = document.querySelector('.message.in .body'); \
                 const listed = [...body.querySelectorAll(':scope > .files > *')].map((f) => f.textContent); \
                 return body.querySelector('details.of-page summary')?.textContent === '1 picture in the mail' \
                 && !body.querySelector('details.of-page').open && listed.length === 2 && listed";
    let listed = browser.wait_for("the files", files).await.to_string();
    assert!(listed.contains("bill.pdf") && listed.contains("original.eml"), "{listed}");
    // Beside it stand the customer's other conversations.
    let beside = "return document.querySelector('.before .unproved')?.textContent === 'sender disproved'";
    browser.wait_for("the other one beside it to say so", beside).await;
    pictures(&browser, "console-unproved").await;
    let above = "return document.querySelector('.doubt-bar')?.textContent.startsWith('sender not proved: anybody may')";
    browser.wait_for("the conversation to say so", above).await;
    // An answer of ours takes the mark from nowhere.
    let open = "const row = [...document.querySelectorAll('.row')].find((r) => r.textContent.includes('lamp elsewhere')); \
                row.click(); return true";
    browser.wait_for("the disproved one to be open", open).await;
    let api = shop.api();
    let list = api.get("/conversations").await.ok();
    let found = list["conversations"].as_array().into_iter().flatten().find(|c| c["sender_proof"] == "disproved");
    let found = found.and_then(|c| c["id"].as_str()).unwrap_or_else(|| panic!("none is disproved: {list}"));
    let path = format!("/conversations/{found}/reply");
    api.post(&path, json!({ "text": "We keep it here." })).await.ok();
    let answered = "const row = [...document.querySelectorAll('.row')].find((r) => r.textContent.includes('We keep it here.')); \
                    return row?.querySelector('.unproved')?.textContent === 'sender disproved' \
                    && document.querySelector('.message.out') !== null \
                    && document.querySelector('.doubt-bar')?.textContent.startsWith('sender disproved: somebody else may have')";
    browser.wait_for("the mark to stay after the answer", answered).await;
    pictures(&browser, "console-disproved").await;
}
