//! Messages that nothing can be done with: refused by the edge for good, or not
//! usable as they are.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use metrics::counter;

use crate::buffer::{Buffer, Buried, RejectedMessage};
use crate::ledger::{self, Ledger};
use crate::telemetry::{metric, repeating};

/// Messages that are remembered (Bounded). One that is forgotten is put on record
/// again.
const BURIED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Messages that somebody tried to bury.
#[derive(Debug)]
pub(super) struct BuriedMessages {
    ids: Mutex<LruCache<Arc<str>, ()>>,
}

impl Default for BuriedMessages {
    fn default() -> Self {
        Self {
            ids: Mutex::new(LruCache::new(BURIED_MAX)),
        }
    }
}

impl BuriedMessages {
    /// Somebody is about to bury the message. Returns whether nobody was before.
    pub(super) fn is_first(&self, id: &Arc<str>) -> bool {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.put(Arc::clone(id), ()).is_none()
    }
}

/// A message that is about to become a dead letter.
pub(super) struct Letter<R> {
    pub(super) id: Arc<str>,
    /// A short name of the reason, for metrics.
    pub(super) code: &'static str,
    /// For the buffer.
    pub(super) rejected: RejectedMessage<R>,
    pub(super) distribution: Option<Arc<str>>,
    /// The paths that the message held, or those of them that were refused.
    pub(super) paths: Vec<String>,
    /// Whether nobody tried to bury it before.
    pub(super) is_first: bool,
}

impl<R> Letter<R> {
    /// The letter as it stands in the ledger.
    fn record(self, remedy: &str) -> ledger::DeadLetter {
        let mut record = ledger::DeadLetter::new(self.code, self.rejected.reason.as_str(), remedy);
        record.distribution = self.distribution.as_deref().map(str::to_owned);
        record.paths = self.paths;
        record.message = Some(self.id.to_string());
        record
    }
}

/// Puts messages among the buffer's dead letters, and on record. One that cannot
/// be put there comes back (Nothing lost).
pub(super) async fn bury<B: Buffer>(buffer: &B, ledger: &Ledger, letters: Vec<Letter<B::Receipt>>) {
    for letter in letters {
        let (message, code) = (Arc::clone(&letter.id), letter.code);
        let (reason, deliveries) = (letter.rejected.reason.clone(), letter.rejected.deliveries);
        match buffer.bury(letter.rejected.clone()).await {
            Ok(Buried::Moved) => {
                counter!(metric::BUFFER_DEAD_LETTERS, "reason" => code).increment(1);
                repeating!(error, code, { %message, reason, deliveries },
                    "a message is a dead letter now; mend the reason and run `evictd drain --redrive`");
                ledger.dead_letter(letter.record(
                    "it is among the buffer's dead letters: mend the reason and run `evictd drain --redrive`",
                ));
            }
            Ok(Buried::NoPlace) => {
                counter!(metric::BUFFER_MESSAGES_LEFT, "reason" => code).increment(1);
                repeating!(error, code, { %message, reason, deliveries },
                    "cannot use a message, and the queue has no dead-letter queue: it comes back until its retention ends");
                if letter.is_first {
                    ledger.dead_letter(letter.record(
                        "it comes back until the queue's retention ends: mend the reason, and set a redrive policy on the queue",
                    ));
                }
            }
            Err(error) => {
                counter!(metric::BUFFER_ERRORS, "operation" => "bury").increment(1);
                repeating!(warn, code, { %message, reason, error = %error },
                    "cannot use a message, nor put it among the dead letters; it comes back");
            }
        }
    }
}
