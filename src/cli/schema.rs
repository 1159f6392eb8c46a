use super::Done;
use super::screen::Screen;
use clap::ValueEnum;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// What travels between adapters and the router
    Envelope,
    /// The configuration file
    Config,
    /// A file of a rule pack
    Rules,
    /// The API, as OpenAPI
    Openapi,
    /// The contract of adapters in other processes, as AsyncAPI
    Asyncapi,
}

pub(crate) fn run(name: Option<Name>, screen: &mut Screen) -> Done {
    let schema = match name {
        Some(name) => one(name),
        None => json!({
            "envelope": one(Name::Envelope),
            "config": one(Name::Config),
            "rules": one(Name::Rules),
            "openapi": one(Name::Openapi),
            "asyncapi": one(Name::Asyncapi),
        }),
    };
    screen.out(&format!("{schema:#}"));
    Ok(())
}

fn one(name: Name) -> Value {
    match name {
        Name::Envelope => switchboard_envelope::schema::envelope_schema(),
        Name::Config => crate::config::schema::config_schema(),
        Name::Asyncapi => switchboard_envelope::asyncapi::asyncapi(),
        Name::Rules => switchboard_routing_rules::pack::json_schema(),
        // A test of the API reads it, so it is JSON.
        Name::Openapi => serde_json::from_str(crate::http::api::OPENAPI).unwrap_or_default(),
    }
}
