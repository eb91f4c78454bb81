//! An error together with everything that caused it, in one line.

use std::error::Error;
use std::fmt::Write;

/// Joins an error and its sources with `": "`.
///
/// Vendor errors print only their outermost layer ("dispatch failure"); the
/// cause that an operator can act on ("connection refused") is further in.
/// A source whose text its parent already ends with is not repeated.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.ends_with(&next) && write!(text, ": {next}").is_err() {
            return text;
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layer(text: &'static str, source: Option<Layer>) -> Layer {
        Layer {
            text,
            source: source.map(Box::new),
        }
    }

    #[test]
    fn every_cause_is_named_once() {
        let error = layer(
            "dispatch failure",
            Some(layer(
                "io error: refused",
                Some(layer("refused", Some(layer("errno 111", None)))),
            )),
        );
        assert_eq!(
            chain(&error),
            "dispatch failure: io error: refused: errno 111"
        );
    }
}
