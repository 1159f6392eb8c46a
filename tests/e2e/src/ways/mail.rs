//! Mail, with a real mailbox and a real mail server.

use super::{Made, PICTURED, Signed, Way};
use crate::{Dice, Dovecot, Postfix, field, sid, text_of};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Mail, through a mailbox and a mail server.
pub struct Mail {
    pub dovecot: tokio::sync::Mutex<Dovecot>,
    pub postfix: Postfix,
    /// The first mail of each customer, which their later ones answer.
    first: Made,
    /// What came back, and was brought into the mailbox.
    brought: Mutex<BTreeSet<String>>,
}

impl Mail {
    #[must_use]
    pub fn new(dovecot: Dovecot, postfix: Postfix) -> Mail {
        Mail { dovecot: tokio::sync::Mutex::new(dovecot), postfix, first: Made::default(), brought: Mutex::default() }
    }
}

/// A customer whose mails come, and to whom none can be delivered.
const GONE: u64 = 1_000;

fn mailed(who: u64) -> String {
    if who == GONE { "gone@gone.example".to_owned() } else { format!("c{who}@customer.example") }
}

impl Mail {
    /// Somebody who cannot be written to.
    #[must_use]
    pub fn gone(&self) -> u64 {
        GONE
    }

    /// What came back since: the mail server brings it into the mailbox, each twice. What nobody takes is brought the next time.
    pub async fn brings_back(&self) {
        for bounce in self.postfix.mails("shop") {
            if self.brought.lock().unwrap_or_else(PoisonError::into_inner).contains(&bounce) {
                continue;
            }
            let dovecot = self.dovecot.lock().await;
            let Ok(mut client) = dovecot.try_client().await else { return };
            let mail = bounce.replace('\n', "\r\n");
            if client.append(&mail).await.is_ok() && client.append(&mail).await.is_ok() {
                self.brought.lock().unwrap_or_else(PoisonError::into_inner).insert(bounce);
            }
        }
    }
}

impl Way for Mail {
    fn channel(&self) -> &'static str {
        "support-email"
    }

    fn says<'a>(&'a self, who: u64, text: &'a str, _: Signed) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let (from, id) = (mailed(who), sid(text));
            let first = self.first.once(&from, || Value::from(id.clone()));
            let answers = match first.as_str() {
                Some(first) if first != id => format!("In-Reply-To: <{first}@customer.example>\r\n"),
                _ => String::new(),
            };
            let body = match text.ends_with(PICTURED) {
                false => format!("\r\n{text}\r\n"),
                true => format!(
                    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
                     {text}\r\n--b\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: attachment; filename=a.png\r\n\
                     Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgpub3QgbXVjaCBvZiBhIHBpY3R1cmU=\r\n--b--\r\n"
                ),
            };
            let mail = format!(
                "From: {from}\r\nTo: support@shop.example\r\nSubject: A question\r\nMessage-ID: <{id}@customer.example>\r\n\
                 {answers}Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n{body}"
            );
            let dovecot = self.dovecot.lock().await;
            match dovecot.try_client().await {
                Ok(mut client) => client.append(&mail).await.is_ok(),
                Err(_) => false,
            }
        })
    }

    fn trouble(&self, _: &mut Dice) {
        // Its servers are killed instead.
    }

    fn sent(&self, who: u64) -> BoxFuture<'_, Vec<String>> {
        let to = mailed(who);
        let mails = self.postfix.mails("customers").into_iter().filter(|mail| field(mail, "to") == to);
        // What was quoted comes after what was written.
        let sent = mails.map(|mail| text_of(&mail).lines().next().unwrap_or_default().trim().to_owned()).collect();
        Box::pin(async move { sent })
    }

    fn has_pictures(&self) -> bool {
        true
    }

    fn keeps_order(&self) -> bool {
        false
    }

    fn signs(&self) -> bool {
        false
    }
}
