use crate::Options;
use crate::daemon::{round, shop};
use crate::provider::{Arrival, MARK, Provider};
use serde_json::{Value, json};
use std::error::Error;
use std::time::{Duration, Instant};
use switchboard_e2e::{Backend, Daemon, Shop, eventually_within, http, sid};
use tokio::sync::mpsc::{self, UnboundedReceiver};

type Failure = Box<dyn Error>;

/// How long anything here may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// From a kill of the leader, and from the moment when a killed broker listens again, to the moment when the provider has the
/// reply to a message that came after it.
pub async fn measure(options: &Options) -> Result<Value, Failure> {
    let (hear, mut arrivals) = mpsc::unbounded_channel();
    let provider = Provider::start(Some(hear)).await?;
    let mut log = options.backend.start();
    let shops = ["edge", "router", "router"].map(|role| shop(&provider, &log).role(role).open());
    let [edge, one, two] = &shops;
    // The first router makes the streams.
    let mut routers = [Daemon::start(one).await, Daemon::start(two).await];
    let _edge = Daemon::start(edge).await;
    let mut leader_killed = vec![];
    for n in 0..options.kills {
        let leads = leader([one, two]).await;
        let Some(daemon) = routers.get_mut(leads) else { continue };
        daemon.kill();
        leader_killed.push(answered(edge, &mut arrivals, n).await?);
        daemon.restart().await;
    }
    let mut broker_killed = vec![];
    for n in options.kills..2 * options.kills {
        if let Backend::Nats(broker) = &mut log {
            broker.restart();
        }
        broker_killed.push(answered(edge, &mut arrivals, n).await?);
    }
    Ok(json!({
        "leader_killed_with_a_standby": spread(leader_killed),
        "broker_killed_and_started_again": spread(broker_killed),
    }))
}

/// Which of the routers leads, once one does and the other follows it.
async fn leader(shops: [&Shop; 2]) -> usize {
    eventually_within(PATIENCE, "a leader and a follower", || async {
        let mut said = vec![];
        for shop in shops {
            let Ok(answer) = http().get(format!("{}/readyz", shop.admin())).send().await else {
                return Err("a router does not answer".to_owned());
            };
            said.push(answer.text().await.unwrap_or_default().lines().nth(1).unwrap_or_default().to_owned());
        }
        let leads: Vec<usize> =
            said.iter().enumerate().filter(|(_, s)| s.starts_with("leads")).map(|(i, _)| i).collect();
        match leads.as_slice() {
            [one] if said.iter().any(|s| s.starts_with("follows")) => Ok(*one),
            _ => Err(format!("{said:?}")),
        }
    })
    .await
}

/// Writes one message to the edge, again for as long as it is refused, and waits until its reply is at the provider.
async fn answered(edge: &Shop, arrivals: &mut UnboundedReceiver<Arrival>, number: usize) -> Result<f64, Failure> {
    let began = Instant::now();
    let text = format!("where is my refund {MARK}{number}");
    let sms = edge.sms("+15551230001", &text, &sid(&format!("failover {number}")));
    while !sms.deliver(&edge.hook("support-sms")).await.is_ok_and(|taken| taken.status == 200) {
        if began.elapsed() > PATIENCE {
            return Err(format!("message {number} was never accepted").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    loop {
        let (seen, at) = tokio::time::timeout(PATIENCE, arrivals.recv()).await?.ok_or("the provider is gone")?;
        if seen == number as u64 {
            return Ok(at.duration_since(began).as_secs_f64() * 1000.0);
        }
    }
}

fn spread(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).map(|t| round(*t));
    json!({ "times": times.len(), "median": at(50), "slowest": at(100) })
}
