//! What the Send API's errors mean (<https://developers.facebook.com/docs/messenger-platform/error-codes>).

use crate::graph::row;
use switchboard_adapter_sdk::classify::{Class, Row};

const RATE: &str = "too many messages at once; nothing was sent";
const WINDOW: &str = "the customer wrote too long ago to be answered";
const GONE: &str = "the person cannot be reached: they blocked the page, or deleted their account";

/// `code/subcode`, or `code` alone for all others.
pub(super) const CODES: &[Row] = &[
    row("1", Class::Retry, "Meta has a passing fault"),
    row("1/99", Class::Retry, "Meta has a passing fault"),
    row("2", Class::Retry, "Meta has a passing fault"),
    row("4", Class::RateLimit, RATE),
    row("17", Class::RateLimit, RATE),
    row("32", Class::RateLimit, RATE),
    row("613", Class::RateLimit, RATE),
    row("80006", Class::RateLimit, RATE),
    row("4/2018338", Class::RateLimit, RATE),
    row("4/2534040", Class::RateLimit, RATE),
    row("4/1893016", Class::RateLimit, "too many notifications to this person; nothing was sent"),
    row("10/2018338", Class::RateLimit, RATE),
    row("10/2534040", Class::RateLimit, RATE),
    row("10/1893016", Class::RateLimit, "too many notifications to this person; nothing was sent"),
    row("10/2018278", Class::OutsideWindow, WINDOW),
    row("10/2534022", Class::OutsideWindow, WINDOW),
    row("10/2018065", Class::OutsideWindow, WINDOW),
    row("10/2018108", Class::PermanentRecipient, "the person does not take messages now"),
    row("100/2018001", Class::PermanentRecipient, "Meta knows no such person for this page"),
    row("551", Class::PermanentRecipient, GONE),
    row("551/1545041", Class::PermanentRecipient, GONE),
    row("200/1545041", Class::PermanentRecipient, GONE),
    row("10/1893015", Class::OptedOut, "the person stopped these notifications"),
    row("100", Class::PermanentMessage, "Meta finds a parameter invalid"),
    row(
        "100/2018008",
        Class::PermanentMessage,
        "Meta could not fetch the file: check that http.public_url can be reached",
    ),
    row("100/2018047", Class::PermanentMessage, "Meta could not take the file: check its kind"),
    row("100/2018109", Class::PermanentMessage, "the file is too large for Meta"),
    row("190", Class::Config, "the page's token is refused or has expired: write a new page_token"),
    row("10", Class::Config, "the app lacks a permission for this page: check its access to pages_messaging"),
    row(
        "200/2018028",
        Class::Config,
        "the app may not write to people who are no testers: ask Meta for advanced access",
    ),
    row("200", Class::Config, "the app lacks a permission for this page"),
    row("10/2018300", Class::Config, "another app owns the conversation: make this one the page's primary receiver"),
    row("100/2018300", Class::Config, "another app owns the conversation: make this one the page's primary receiver"),
    row("2018300", Class::Config, "another app owns the conversation: make this one the page's primary receiver"),
    row("10/1893063", Class::Config, "Meta restricts the page for now: look into its quality page"),
    row("9000001", Class::Config, "Meta refuses the page's account"),
];
