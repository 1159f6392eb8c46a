//! What the end-to-end tests are made of: a [`Shop`] (a folder with a configuration and a rule pack, and free ports), the real
//! [`Daemon`] over it, its API, signed webhooks, and a browser.
//!
//! Nothing here waits a fixed time: [`eventually`] looks at a condition until it holds or its deadline passes.
#![forbid(unsafe_code)]

mod api;
mod backend;
mod browser;
mod cable;
mod certificates;
mod daemon;
mod dice;
mod dovecot;
mod frayed;
mod front;
mod gateway;
mod jetstream;
mod keys;
mod letter;
mod postfix;
mod provider;
mod python;
mod shop;
pub mod traffic;
mod visitor;
mod wait;
pub mod ways;
mod webhook;
pub mod wire;

pub use api::{Answer, Api, message};
pub use backend::Backend;
pub use browser::{AxNode, Browser, Tab, screenshots};
pub use cable::{Cable, Cut, Line};
pub use certificates::{Authority, Leaf};
pub use daemon::{Daemon, binary};
pub use dice::Dice;
pub use dovecot::{Dovecot, MAILBOX_PASSWORD, MAILBOX_USER, MailClient};
pub use frayed::Frayed;
pub use front::{Front, Mishap, Site};
pub use gateway::{FakePhone, GATEWAY_NUMBER, Gateway, HOOK_SECRET};
pub use jetstream::{jetstream, jetstream_says, put_value};
pub use keys::{Issuer, shipped_users};
pub use letter::{page_of, text_of};
pub use postfix::{Postfix, field, fields};
pub use provider::Provider;
pub use python::{Python, line};
pub use shop::{ACCOUNT_SID, AUTH_TOKEN, OUR_NUMBER, Pack, Shop, ShopBuilder, free_port};
pub use switchboard_simulators::{
    Callback, Dialect, Fate, GatewaySent, GatewaySim, GatewayStep, HookStep, InboundSms, MetaConfig, MetaSent,
    MetaSigned, MetaSim, MetaStep, NatsCluster, NatsServer, Repeats, Sent, SlackPost, SlackSim, SlackStep, SmppCentre,
    Step, Submitted, Taken, TelegramSent, TelegramSim, TelegramStep, VonageConfig, VonageForm, VonageSent,
    VonageSigned, VonageSim, VonageStep, WebhookSim, XConfig, XSent, XSim, XStep,
};
pub use visitor::Visitor;
pub use wait::{eventually, eventually_within, poll_until};
pub use webhook::{Delivered, Sms, post_form, sid};

/// Makes a test of each case on each backend.
#[macro_export]
macro_rules! on_every_backend {
    ($($case:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case($crate::Backend::Embedded).await;
            })+
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case($crate::Backend::nats()).await;
            })+
        }
    };
}

use std::sync::OnceLock;
use std::time::Duration;

/// The client of all tests: short timeouts, no proxies, no redirects.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // The client wants a TLS provider even when it only talks to loopback. Somebody else in this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        client()
    })
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(20))
        // A killed daemon leaves dead connections in the pool, and the next request on one of them would fail for that alone.
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client for loopback")
}
