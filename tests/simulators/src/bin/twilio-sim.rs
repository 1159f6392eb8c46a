//! A Twilio of one's own, to try a configuration without an account:
//!
//! ```text
//! twilio-sim --listen 127.0.0.1:9700 --token 12345 --number +15005550006 --route https://hooks.shop.example=http://127.0.0.1:8080
//! curl -d url=https://hooks.shop.example/hooks/support-sms --data-urlencode from=+15005550009 -d body=hello http://127.0.0.1:9700/sim/inbound
//! curl http://127.0.0.1:9700/sim/messages
//! ```
#![forbid(unsafe_code)]

use clap::Parser;
use std::{net::SocketAddr, process::ExitCode};
use switchboard_simulators::{Callback, TwilioSim, TwilioSimConfig};

/// Stands in for Twilio's messaging API.
#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "127.0.0.1:9700")]
    listen: SocketAddr,
    /// The account's sid.
    #[arg(long, default_value = "AC00000000000000000000000000000000")]
    account: String,
    /// The auth token, which also signs the webhooks.
    #[arg(long, default_value = "12345")]
    token: String,
    /// A sender of the account; may be repeated.
    #[arg(long, default_value = "+15005550006")]
    number: Vec<String>,
    /// A messaging service of the account; may be repeated.
    #[arg(long)]
    service: Vec<String>,
    /// PUBLIC=LOCAL: calls to addresses that start with PUBLIC go to LOCAL.
    #[arg(long, value_parser = pair)]
    route: Vec<(String, String)>,
    /// Statuses that follow every message taken, such as sent,delivered.
    #[arg(long, value_delimiter = ',')]
    status: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (public, local) = text.split_once('=').ok_or("write PUBLIC=LOCAL")?;
    Ok((public.into(), local.into()))
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let config = TwilioSimConfig {
        account_sid: options.account,
        auth_token: options.token,
        api_key: None,
        numbers: options.number,
        services: options.service,
        listen: options.listen,
    };
    let sim = match TwilioSim::start(config).await {
        Ok(sim) => sim,
        Err(e) => {
            eprintln!("twilio-sim: {}: {e}", options.listen);
            return ExitCode::FAILURE;
        }
    };
    options.route.iter().for_each(|(public, local)| sim.route(public, local));
    sim.callbacks(options.status.iter().map(|status| Callback::after(status)).collect());
    println!("base_url = \"{}\"", sim.base_url());
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
