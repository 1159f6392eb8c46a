//! Stand-ins for the providers, as strict as the real ones: they refuse what the provider refuses, note every request that no
//! correct client would make, and fail in the ways in which providers fail.
//!
//! They share no code with what they test: signatures and HTTP are made here again.
#![forbid(unsafe_code)]

mod gateway;
pub mod http;
mod meta;
mod nats;
mod repeats;
mod slack;
mod smpp;
mod stub;
mod telegram;
pub mod twilio;
mod vonage;
mod webhook;
mod x;

pub use gateway::{Dialect, GatewaySent, GatewaySim, GatewayStep};
pub use meta::{MetaConfig, MetaSent, MetaSigned, MetaSim, MetaStep};
pub use nats::{NatsCluster, NatsServer};
pub use repeats::Repeats;
pub use slack::{SlackPost, SlackSim, SlackStep};
pub use smpp::{Fate, SmppCentre, Submitted};
pub use stub::FastStub;
pub use telegram::{TelegramSent, TelegramSim, TelegramStep};
pub use twilio::{Callback, Delivery, InboundSms, Sent, Signature, Step, TwilioSim, TwilioSimConfig};
pub use vonage::{VonageConfig, VonageForm, VonageSent, VonageSigned, VonageSim, VonageStep};
pub use webhook::{HookStep, Taken, WebhookSim};
pub use x::{ANN, XConfig, XFile, XSent, XSim, XStep};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that a failed test elsewhere does not spoil.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
