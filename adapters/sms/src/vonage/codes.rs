//! What Vonage's codes mean: statuses of the SMS API (<https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms>),
//! codes of its delivery receipts, and errors of the Messages API (<https://developer.vonage.com/en/api-errors/messages>).

use switchboard_adapter_sdk::classify::{Class, Row};

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

/// `messages[].status` of an answer; `0` is a success.
pub(super) const STATUSES: &[Row] = &[
    row("1", Class::RateLimit, "the account sends more a second than Vonage takes"),
    row("2", Class::PermanentMessage, "Vonage misses a parameter"),
    row("3", Class::PermanentMessage, "Vonage finds a parameter invalid"),
    row("4", Class::Config, "Vonage refuses the key and secret: check api_key and api_secret"),
    row("5", Class::Retry, "Vonage has a passing fault"),
    row("6", Class::PermanentMessage, "Vonage could not process this message"),
    row("7", Class::PermanentRecipient, "the number is barred: it cannot be written to"),
    row("8", Class::Config, "the account at Vonage is barred"),
    row("9", Class::Config, "the account's balance at Vonage is spent"),
    row("10", Class::Retry, "too many connections to Vonage at once"),
    row("11", Class::PermanentMessage, "the account may not send through this API"),
    row("12", Class::PermanentMessage, "the text is too long for Vonage"),
    row("14", Class::Config, "Vonage finds our signature invalid: check api_secret"),
    row("15", Class::Config, "the sender may not be used: check from"),
    row("22", Class::PermanentMessage, "Vonage finds the network code invalid"),
    row("23", Class::PermanentMessage, "Vonage finds the callback's address invalid: check http.public_url"),
    row("29", Class::Config, "a trial account sends to numbers of its list only: top it up, or list the number"),
    row("32", Class::Config, "signature and secret were both sent, which the account does not allow"),
    row("33", Class::PermanentRecipient, "the number is not in service any more"),
];

/// `err-code` of a delivery receipt.
pub(super) const DELIVERY: &[Row] = &[
    row("1", Class::PermanentMessage, "not delivered, for a reason that nobody gave"),
    row("2", Class::Retry, "the phone is switched off or out of reach"),
    row("3", Class::PermanentRecipient, "the number is not in service any more"),
    row("4", Class::PermanentRecipient, "the person has barred messages"),
    row("5", Class::PermanentMessage, "the number has moved to another network, and the message was lost on the way"),
    row("6", Class::PermanentMessage, "a carrier filtered the message as spam"),
    row("7", Class::Retry, "the phone was busy"),
    row("8", Class::Retry, "the network had a fault"),
    row("9", Class::PermanentRecipient, "this is not a valid phone number"),
    row("10", Class::PermanentMessage, "a network did not take this message"),
    row("11", Class::PermanentMessage, "no route leads to this number"),
    row("12", Class::Retry, "the network could not be reached"),
    row("13", Class::PermanentMessage, "the network does not deliver this to the person for their age"),
    row("14", Class::PermanentMessage, "the carrier blocks such messages"),
    row("15", Class::PermanentMessage, "the person's prepaid balance does not allow it"),
    row("16", Class::Retry, "the gateway's quota is used up"),
    row("50", Class::PermanentMessage, "a filter stopped the message for its entity"),
    row("51", Class::PermanentMessage, "a filter stopped the message for its header"),
    row("52", Class::PermanentMessage, "a filter stopped the message for its content"),
    row("53", Class::PermanentMessage, "a filter stopped the message for missing consent"),
    row("54", Class::PermanentMessage, "a filter stopped the message for its regulation"),
    row("99", Class::PermanentMessage, "not delivered, for a general fault"),
];

/// The number at the end of an error's `type` at the Messages API, or its word.
pub(super) const MESSAGES: &[Row] = &[
    row("1000", Class::RateLimit, "the account sends more a second than Vonage takes"),
    row("1010", Class::PermanentMessage, "Vonage misses a parameter"),
    row("1020", Class::PermanentMessage, "Vonage finds a parameter invalid"),
    row("1030", Class::Retry, "Vonage has a passing fault"),
    row("1050", Class::PermanentRecipient, "the number is barred: it cannot be written to"),
    row("1060", Class::Config, "the account at Vonage is barred"),
    row("1070", Class::Config, "the account's balance at Vonage is spent"),
    row("1080", Class::Config, "Vonage refuses the key and secret: check api_key and api_secret"),
    row("1120", Class::Config, "the sender may not be used: check from"),
    row("1150", Class::PermanentMessage, "Vonage finds a parameter invalid"),
    row("1170", Class::PermanentRecipient, "this is not a valid phone number"),
    row("1180", Class::Retry, "the phone is switched off or out of reach"),
    row("1190", Class::PermanentRecipient, "the number is not in service any more"),
    row("1210", Class::PermanentMessage, "a carrier filtered the message as spam"),
    row("1220", Class::PermanentRecipient, "the number is not in service any more"),
    row("1240", Class::PermanentRecipient, "this is not a valid phone number"),
    row("1250", Class::PermanentRecipient, "no route leads to this number"),
    row("1340", Class::OutsideWindow, "outside the window in which the person may be written to"),
    row("low-balance", Class::Config, "the account's balance at Vonage is spent"),
    row("unauthorized", Class::Config, "Vonage refuses the key and secret: check api_key and api_secret"),
    row("forbidden", Class::Config, "the account may not send through this API"),
    row("not-found", Class::PermanentMessage, "Vonage does not know what is asked for"),
    row("throttled", Class::RateLimit, "the account sends more a second than Vonage takes"),
];
