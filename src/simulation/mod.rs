//! Deterministic simulation: the real router and the real outbound lanes over the log in memory with its faults, a provider
//! in memory with its own, simulated time, crashes at every edge, and the promises checked as named invariants.
//!
//! `SWITCHBOARD_SIM_SEEDS` says how many seeds run, `SWITCHBOARD_SEED` replays one.

mod checks;
mod packs;
mod plant;
mod provider;
mod trouble;
mod world;

pub(crate) use plant::{Bug, ageless, bent, mistaken, planted, righted, told, trip};

use std::sync::atomic::{AtomicUsize, Ordering};
use world::World;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|v| v.parse().ok())
}

fn within<T>(life: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let result = runtime.map_err(|e| e.to_string())?.block_on(life);
    crate::clock::simulated::stop();
    result
}

/// Runs one seed, where `copies` says whether older copies of the log may come back in it; an error names the broken promise.
fn run(seed: u64, copies: bool) -> Result<usize, String> {
    within(async { checks::check(&World::run(seed, copies).await?).await })
}

/// The same, and what happened in it.
fn story(seed: u64, copies: bool) -> (Vec<String>, Result<usize, String>) {
    let told = within(async {
        let world = World::run(seed, copies).await?;
        Ok((checks::tell(&world).await?, checks::check(&world).await))
    });
    told.unwrap_or_else(|broken| (vec![], Err(broken)))
}

/// Seeds `SWITCHBOARD_SIM_FIRST` and on, `SWITCHBOARD_SIM_SEEDS` of them; or the one of `SWITCHBOARD_SEED`, which tells its story.
fn the_promises_hold(copies: bool) {
    if let Some(seed) = number("SWITCHBOARD_SEED") {
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init();
        let (lines, result) = story(seed, copies);
        lines.iter().for_each(|line| println!("{line}"));
        if let Err(broken) = result {
            panic!("seed {seed}: {broken}");
        }
        return;
    }
    let seeds = number("SWITCHBOARD_SIM_SEEDS").unwrap_or(200);
    let first = number("SWITCHBOARD_SIM_FIRST").unwrap_or(1);
    println!("simulating seeds {first} to {}", first + seeds - 1);
    let test = std::thread::current().name().unwrap_or("simulation").to_owned();
    // A seed without copies is the same life in both tests.
    let lives: Vec<u64> = (first..first + seeds).filter(|seed| !copies || World::has_copies(*seed)).collect();
    let (next, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let broken = std::thread::scope(|scope| {
        let work = || {
            while let Some(seed) = lives.get(next.fetch_add(1, Ordering::Relaxed)) {
                match run(*seed, copies) {
                    Ok(states) => drop(compared.fetch_add(usize::from(states > 0), Ordering::Relaxed)),
                    Err(broken) => {
                        next.store(lives.len(), Ordering::Relaxed);
                        return Some((*seed, broken));
                    }
                }
            }
            None
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|w| w.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).min()
    });
    let compared = compared.into_inner();
    println!("{} lives, and states of processes were compared with LOG in {compared} of them", lives.len());
    if let Some((seed, broken)) = broken {
        panic!("seed {seed} (replay: SWITCHBOARD_SEED={seed} cargo test --lib {test}): {broken}");
    }
    assert!(compared * 2 > lives.len(), "a check that is made in few lives proves little");
}

#[test]
fn the_promises_hold_over_faults_and_crashes() {
    the_promises_hold(false);
}

#[test]
fn the_promises_hold_when_older_copies_of_the_log_come_back() {
    the_promises_hold(true);
}

/// What a seed finds can be looked at again, on any machine.
#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 1..=40 {
        let (once, again) = (story(seed, true), story(seed, true));
        let differ = once.0.iter().zip(&again.0).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!((once.0.len(), once.1), (again.0.len(), again.1), "seed {seed}");
    }
}

/// What a seed finds, or what the router itself found broken in it.
fn found(seed: u64) -> Option<String> {
    std::panic::catch_unwind(|| run(seed, true)).map_or_else(
        |panic| {
            crate::clock::simulated::stop();
            Some(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned()))
        },
        Result::err,
    )
}

/// A simulation that cannot find a bug proves nothing: each planted bug must be found within a few hundred seeds.
#[test]
fn each_planted_bug_is_found() {
    for bug in Bug::ALL {
        plant::plant(Some(bug));
        let found = (1..=400).find_map(|seed| found(seed).map(|broken| (seed, broken)));
        plant::plant(None);
        match found {
            Some((seed, broken)) => {
                // The check of a router that died of it stands in what is told of its task.
                let died = format!("invariants broken: [(\\\"{}\\\"", bug.breaks());
                let named = broken.starts_with(bug.breaks()) || broken.contains(&died);
                assert!(named, "{bug:?}: seed {seed} found something else: {broken}");
                println!("{bug:?}: found by seed {seed}: {broken}");
            }
            None => panic!("{bug:?} was not found in 400 seeds"),
        }
    }
}
