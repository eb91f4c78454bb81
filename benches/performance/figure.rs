//! What was measured, what it is compared with, and what was wanted.

use std::fmt;

/// A measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    pub what: String,
    pub measured: String,
    /// What it is divided by.
    pub reference: String,
    pub ratio: f64,
    pub wanted: Wanted,
}

/// What the ratio should be.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Told for comparison.
    Nothing,
}

impl Figure {
    /// A rate, and one of the same machine in the same run.
    pub fn rate(what: impl Into<String>, rate: f64, of: &str, reference: f64) -> Self {
        Self {
            what: what.into(),
            measured: format!("{} /s", count(rate)),
            reference: format!("{of}: {} /s", count(reference)),
            ratio: rate / reference,
            wanted: Wanted::Nothing,
        }
    }

    /// Something that must stay below a limit.
    pub fn limited(what: impl Into<String>, value: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            measured: format!("{} {unit}", short(value)),
            reference: format!("the limit: {} {unit}", short(limit)),
            ratio: value / limit,
            wanted: Wanted::AtMost(1.0),
        }
    }

    /// Something that was measured twice under other circumstances.
    pub fn compared(
        what: impl Into<String>,
        value: f64,
        unit: &str,
        of: &str,
        reference: f64,
    ) -> Self {
        Self {
            what: what.into(),
            measured: format!("{} {unit}", short(value)),
            reference: format!("{of}: {} {unit}", short(reference)),
            ratio: value / reference,
            wanted: Wanted::Nothing,
        }
    }

    pub fn wanting(mut self, wanted: Wanted) -> Self {
        self.wanted = wanted;
        self
    }

    pub fn holds(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.ratio >= least,
            Wanted::AtMost(most) => self.ratio <= most,
            Wanted::Nothing => true,
        }
    }

    /// The cells of its row.
    pub fn cells(&self) -> [String; 5] {
        let wanted = match self.wanted {
            Wanted::AtLeast(least) => format!("≥ {}", hundredths(least)),
            Wanted::AtMost(most) => format!("≤ {}", hundredths(most)),
            Wanted::Nothing => String::new(),
        };
        let missed = if self.holds() { "" } else { " (missed)" };
        [
            self.what.clone(),
            self.measured.clone(),
            self.reference.clone(),
            format!("{:.2}", self.ratio),
            format!("{wanted}{missed}"),
        ]
    }
}

/// Figures in sections.
#[derive(Debug, Default)]
pub struct Table {
    pub sections: Vec<(&'static str, Vec<Figure>)>,
}

pub const HEAD: [&str; 5] = ["what", "measured", "compared with", "ratio", "wanted"];

impl Table {
    pub fn section(&mut self, title: &'static str) {
        self.sections.push((title, Vec::new()));
    }

    /// Adds a figure to the last section, and prints it.
    pub fn add(&mut self, figure: Figure) {
        let [what, measured, reference, ratio, wanted] = figure.cells();
        println!("  {what}: {measured} ({reference}), ratio {ratio} {wanted}");
        let (_, figures) = self.sections.last_mut().expect("a section was begun");
        figures.push(figure);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, figures) in &self.sections {
            writeln!(f, "{title}")?;
            for figure in figures {
                let [what, measured, reference, ratio, wanted] = figure.cells();
                writeln!(
                    f,
                    "  {what:<58} {measured:>18} {ratio:>6} {wanted:<18} {reference}"
                )?;
            }
        }
        Ok(())
    }
}

/// To two places.
fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// A number with its thousands apart.
pub fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three digits that count.
pub fn short(number: f64) -> String {
    match number.abs() {
        1_000.0.. => count(number),
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        0.1.. => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}
