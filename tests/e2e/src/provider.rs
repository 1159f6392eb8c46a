use crate::{ACCOUNT_SID, AUTH_TOKEN, OUR_NUMBER, Shop, eventually};
use std::time::Duration;
use switchboard_simulators::{Callback, Sent, Step, TwilioSim, TwilioSimConfig};

/// The SMS provider's simulator with the tests' account, in this process: it outlives the daemon and counts independently of it.
#[derive(Clone)]
pub struct Provider {
    sim: TwilioSim,
}

impl Provider {
    pub async fn start() -> Provider {
        let config = TwilioSimConfig {
            account_sid: ACCOUNT_SID.into(),
            auth_token: AUTH_TOKEN.into(),
            numbers: vec![OUR_NUMBER.into()],
            ..TwilioSimConfig::default()
        };
        Provider { sim: TwilioSim::start(config).await.expect("a port for the provider") }
    }

    /// The simulator itself, for what has no shorthand here.
    #[must_use]
    pub fn sim(&self) -> &TwilioSim {
        &self.sim
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        self.sim.base_url()
    }

    /// What becomes of the next send; several calls queue up.
    pub fn next(&self, step: Step) {
        self.sim.script(step);
    }

    /// Every send from now on is accepted after this long.
    pub fn takes(&self, delay: Duration) {
        self.sim.otherwise(Step::Delay(delay, Box::new(Step::Accept)));
    }

    /// Refuses connections and cuts those that are open.
    pub async fn down(&self) {
        self.sim.set_up(false).await;
    }

    pub async fn up(&self) {
        self.sim.set_up(true).await;
    }

    /// Every text that was accepted, in order.
    ///
    /// # Panics
    /// When a request was none that the provider documents.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        assert_eq!(self.sim.violations(), Vec::<String>::new(), "the provider would not have taken this");
        self.sim.sent()
    }

    /// How many sends were asked for, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.sim.sends_read()
    }

    /// Waits until that many texts to `to` were accepted.
    pub async fn sent_to(&self, to: &str, count: usize) -> Vec<Sent> {
        eventually(&format!("{count} texts to {to}"), || async {
            let all = self.sent();
            let found: Vec<Sent> = all.iter().filter(|s| s.to == to).cloned().collect();
            if found.len() >= count { Ok(found) } else { Err(format!("{all:?}")) }
        })
        .await
    }

    /// Waits until that many sends were asked for.
    pub async fn asked(&self, count: usize) {
        eventually(&format!("{count} sends"), || async {
            let asked = self.requests();
            if asked >= count { Ok(()) } else { Err(format!("{asked} sends")) }
        })
        .await;
    }

    /// Tells the shop what became of a text, at the address that came with it.
    pub async fn status(&self, sent: &Sent, status: &str, shop: &Shop) {
        assert_eq!(self.tells(sent, status, shop).await, 200, "a status callback was refused");
    }

    /// The same; the answer's status, 0 where there is none.
    pub async fn tells(&self, sent: &Sent, status: &str, shop: &Shop) -> u16 {
        self.sim.route("https://hooks.shop.example", &shop.public());
        self.sim.status(&sent.sid, &Callback::after(status)).await
    }
}
