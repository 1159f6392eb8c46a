//! What WhatsApp's error codes mean, of sends and of statuses
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>).

use crate::graph::row;
use switchboard_adapter_sdk::classify::{Class, Row};

const RATE: &str = "too many messages at once; nothing was sent";
const TEMPLATE: &str = "the template is not one that WhatsApp approved as it is used here";

pub(super) const DAY_MS: u64 = 86_400_000;

/// What WhatsApp takes no sooner than a day later, however often it is asked; with a subcode or without.
pub(super) fn is_for_tomorrow(code: &str) -> bool {
    matches!(code.split('/').next(), Some("130472" | "131049"))
}

/// What is too much for one person; others can be written to meanwhile.
pub(super) fn is_of_one(code: &str) -> bool {
    code.split('/').next() == Some("131056")
}

/// The person stopped what is sold to them; what else is written to them arrives.
pub(super) const STOPPED: &str = "131050";

pub(super) const CODES: &[Row] = &[
    row("0", Class::Config, "WhatsApp refuses the access token: write a new access_token"),
    row("1", Class::Retry, "WhatsApp has a passing fault"),
    row("2", Class::Retry, "WhatsApp has a passing fault"),
    row("3", Class::Config, "the app lacks a permission of WhatsApp"),
    row("4", Class::RateLimit, RATE),
    row("10", Class::Config, "the app lacks a permission of WhatsApp"),
    row("100", Class::PermanentMessage, "WhatsApp finds a parameter invalid"),
    row("190", Class::Config, "the access token is refused or has expired: write a new access_token"),
    row("368", Class::Config, "the account is blocked for a while for breaking WhatsApp's policies"),
    row("80007", Class::RateLimit, RATE),
    row("130429", Class::RateLimit, RATE),
    row("130472", Class::Retry, "WhatsApp withholds it as a part of an experiment, and may take it tomorrow"),
    row("130497", Class::PermanentRecipient, "the account may not write to people in this country"),
    row("131000", Class::Retry, "WhatsApp has a passing fault"),
    row("131008", Class::PermanentMessage, "WhatsApp misses a parameter"),
    row("131009", Class::PermanentMessage, "WhatsApp finds a value of a parameter invalid"),
    row("131016", Class::Retry, "WhatsApp is not available just now"),
    row("131021", Class::PermanentRecipient, "nobody can write to themselves"),
    row(
        "131026",
        Class::PermanentRecipient,
        "the person cannot be reached: no WhatsApp, an old one, or its terms not accepted",
    ),
    row("131031", Class::Config, "the account is locked: look into the business manager"),
    row("131042", Class::Config, "the account's payment failed: look into the business manager"),
    row("131045", Class::PermanentRecipient, "the number is not registered as it has to be"),
    row("131047", Class::OutsideWindow, "the customer wrote more than a day ago: send an approved text (template)"),
    row("131048", Class::RateLimit, "too many people marked messages of this number as spam; nothing was sent"),
    row("131049", Class::Retry, "WhatsApp keeps the person from too many marketing messages, and may take it tomorrow"),
    row(STOPPED, Class::PermanentMessage, "the person stopped marketing messages; answers still reach them"),
    row("131051", Class::PermanentMessage, "WhatsApp does not know this kind of message"),
    row("131052", Class::PermanentMessage, "WhatsApp could not download the file"),
    row("131053", Class::Retry, "WhatsApp could not take the file just now"),
    row("131056", Class::RateLimit, "too many messages to this person at once; nothing was sent"),
    row("132000", Class::PermanentMessage, "the template has another number of places than it was given values"),
    row("132001", Class::PermanentMessage, "there is no such template in this language"),
    row("132005", Class::PermanentMessage, "the template is too long once its values are filled in"),
    row("132007", Class::PermanentMessage, TEMPLATE),
    row("132012", Class::PermanentMessage, TEMPLATE),
    row("132015", Class::PermanentMessage, "the template is paused for its quality"),
    row("132016", Class::PermanentMessage, "the template is disabled for its quality"),
    row("133010", Class::Config, "the phone number is not registered at the Cloud API"),
    row("133016", Class::RateLimit, "too many attempts to register the number; nothing was sent"),
];
