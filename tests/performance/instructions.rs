//! Instructions for each row change against figures that are kept in the repository. Seconds depend on the machine and
//! on who else is at work; instructions repeat.

use std::collections::BTreeMap;
use std::fmt;

/// The figures of this kind of processor.
pub type Figures = BTreeMap<String, f64>;

/// What a figure should be, and is.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub name: String,
    pub kept: Option<f64>,
    pub counted: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kept,
            counted,
        } = self;
        match kept {
            Some(kept) => {
                let per_cent = 100.0 * (counted / kept - 1.0);
                write!(
                    f,
                    "{name}: {counted:.0} instructions a change, {per_cent:+.1} % against {kept:.0}"
                )
            }
            None => write!(
                f,
                "{name}: {counted:.0} instructions a change, and no figure is kept"
            ),
        }
    }
}

/// Those of `counted` that are off by more than so many per cent, either way: who makes something faster keeps the
/// new figure, or the next one can lose it again.
pub fn off(kept: &Figures, counted: &Figures, tolerance_per_cent: f64) -> Vec<Difference> {
    let differences = counted.iter().map(|(name, counted)| Difference {
        name: name.clone(),
        kept: kept.get(name).copied(),
        counted: *counted,
    });
    differences
        .filter(|difference| {
            difference.kept.is_none_or(|kept| {
                (difference.counted / kept - 1.0).abs() * 100.0 > tolerance_per_cent
            })
        })
        .collect()
}
