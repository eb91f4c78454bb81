//! How long changes took to reach the edge, and which fault each of them waited for.

use std::time::Duration;

use super::faults::Fault;
use super::probes::Arrival;
use super::report::quantiles;

/// What may be left of a wait once no fault is open and everything is in the buffer: messages that somebody received
/// before come back after six seconds, a list that may be late is looked at for eleven, the last look reads what it
/// lists for fifty at most, and the pause between two attempts is five.
const AFTER_FAULTS_MAX: Duration = Duration::from_secs(6 + 11 + 50 + 5);

/// While a fault was open, and while evictd caught up after it; in µs since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    pub fault: Fault,
    pub injected_us: u64,
    pub healed_us: u64,
    /// Everything that had changed was in the buffer.
    pub buffered_us: u64,
}

/// The waits for one kind of fault.
#[derive(Debug)]
struct Account {
    fault: Fault,
    changes: usize,
    longest_us: u64,
    /// Since the fault had ended.
    longest_after_us: u64,
}

/// All waits of a run, from the time that a change's key had settled until the edge heard of it.
#[derive(Debug, Default)]
pub struct Waits {
    all_us: Vec<u64>,
    /// What no fault explains.
    rest_us: Vec<u64>,
    accounts: Vec<Account>,
}

impl Waits {
    /// `periods` in the order in which they came.
    pub fn new(arrivals: &[Arrival], periods: &[Period]) -> Self {
        let mut waits = Self::default();
        for &Arrival { ready_us, heard_us } in arrivals {
            let overlaps =
                |period: &&Period| period.injected_us < heard_us && ready_us < period.buffered_us;
            let mut since_us = ready_us;
            let whole_us = heard_us.saturating_sub(ready_us);
            if let Some(period) = periods.iter().rfind(overlaps) {
                since_us = since_us.max(period.buffered_us);
                let after_us = heard_us.saturating_sub(period.healed_us.max(ready_us));
                waits.account(period.fault, whole_us, after_us);
            }
            waits.all_us.push(whole_us);
            waits.rest_us.push(heard_us.saturating_sub(since_us));
        }
        waits.all_us.sort_unstable();
        waits.rest_us.sort_unstable();
        let longest = |account: &Account| std::cmp::Reverse(account.longest_us);
        waits.accounts.sort_by_key(longest);
        waits
    }

    fn account(&mut self, fault: Fault, whole_us: u64, after_us: u64) {
        let known = self.accounts.iter().position(|of| of.fault == fault);
        let index = known.unwrap_or_else(|| {
            self.accounts.push(Account {
                fault,
                changes: 0,
                longest_us: 0,
                longest_after_us: 0,
            });
            self.accounts.len() - 1
        });
        let account = &mut self.accounts[index];
        account.changes += 1;
        account.longest_us = account.longest_us.max(whole_us);
        account.longest_after_us = account.longest_after_us.max(after_us);
    }

    pub fn good_enough(&self) -> bool {
        let max_us = self.rest_us.last().copied().unwrap_or_default();
        Duration::from_micros(max_us) <= AFTER_FAULTS_MAX
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "  settled to the edge    {}", quantiles(&self.all_us))?;
        writeln!(f, "    without faults       {}", quantiles(&self.rest_us))?;
        for account in &self.accounts {
            let seconds = |us: u64| us as f64 / 1e6;
            writeln!(
                f,
                "    waited for {:?}: {} changes, {:.1} s at most, {:.1} s of it after it had ended",
                account.fault,
                account.changes,
                seconds(account.longest_us),
                seconds(account.longest_after_us),
            )?;
        }
        Ok(())
    }
}

#[test]
fn a_wait_counts_from_the_end_of_the_last_fault_that_it_overlaps() {
    let period = |from: u64| Period {
        fault: Fault::EdgeFull,
        injected_us: from,
        healed_us: from + 120_000_000,
        buffered_us: from + 121_000_000,
    };
    let waits = |ready_us: u64, heard_us: u64| {
        let arrival = Arrival { ready_us, heard_us };
        Waits::new(&[arrival], &[period(10_000_000), period(400_000_000)])
    };
    let (ready, end) = (20_000_000, 131_000_000);
    let limit = u64::try_from(AFTER_FAULTS_MAX.as_micros()).unwrap();
    assert!(waits(ready, end + limit).good_enough());
    assert!(!waits(ready, end + limit + 1).good_enough());
    // It was over, or did not begin until the edge had heard.
    assert!(!waits(end, end + limit + 1).good_enough());
    assert!(!waits(300_000_000, 300_000_001 + limit).good_enough());
    let explained = waits(ready, end + 1_000_000).to_string();
    let account = "EdgeFull: 1 changes, 112.0 s at most, 2.0 s of it after it had ended";
    assert!(explained.contains(account), "{explained}");
}
