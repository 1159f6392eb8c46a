mod canary;
mod fake;
mod lists;
mod refusals;
mod streams;
mod told;
mod writes;

use fake::{Fake, Got, call, fake};
use http::Method;
use serde_json::{Value, json};
