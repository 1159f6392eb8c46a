//! The promises under SIGKILL: customers write, agents answer, and the process is killed at random moments.
//!
//! `CRASH_KILLS` is how often (100 when absent), `CRASH_SEED` repeats a run as far as the machine's timing allows. What was sent is
//! counted at the provider, independently of what the daemon believes.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{Traffic, check, number, settled, texts, transcripts};
use switchboard_e2e::{Backend, Daemon, Dice, Provider, Shop, on_every_backend};

/// Many, because a reply whose fate a kill left open holds its conversation until it is settled.
const CUSTOMERS: u64 = 200;

on_every_backend! {
    kills_at_random_moments_lose_nothing_send_nothing_twice_and_forget_nobody,
}

async fn kills_at_random_moments_lose_nothing_send_nothing_twice_and_forget_nobody(backend: Backend) {
    // One after the other: the moments of the kills should be the program's, not those of a machine that is too busy.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let kills = number("CRASH_KILLS", 100);
    let seed = number("CRASH_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("CRASH_SEED={seed} CRASH_KILLS={kills}");
    let mut dice = Dice::new(seed);

    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let shop = Arc::new(Shop::with(&provider.base_url()).log(&backend).sms("send_timeout = \"5s\"").open());
    let mut daemon = Daemon::start(&shop).await;
    let traffic = Traffic::start(std::slice::from_ref(&shop), CUSTOMERS, &dice);

    for kill in 0..kills {
        tokio::time::sleep(dice.millis(350)).await;
        daemon.kill();
        while dice.one_in(4) {
            // Recovery is killed too.
            daemon.spawn_again();
            tokio::time::sleep(dice.millis(60)).await;
            daemon.kill();
        }
        daemon.restart().await;
        if (kill + 1) % 20 == 0 {
            println!("{} kills, {} replies at the provider", kill + 1, provider.sent().len());
        }
    }
    let accepted = traffic.end().await;
    let settled = settled(&shop).await;
    check(&settled, &accepted, &provider);
    // Nothing is ready only in memory: a last start finds the same.
    daemon.kill();
    daemon.restart().await;
    let again = transcripts(&shop.api()).await;
    assert_eq!(texts(&again), texts(&settled.conversations), "a restart changed the transcripts");
}
