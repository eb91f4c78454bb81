//! Plots as SVG, readable on light and dark pages.

use std::fmt::Write as _;

use crate::figure::short;

/// A line for each series over the same values of x, which stand evenly apart.
#[derive(Debug)]
pub struct Plot {
    pub file: &'static str,
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub logarithmic: bool,
    pub series: Vec<Series>,
}

#[derive(Debug)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Series {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            points: Vec::new(),
        }
    }

    pub fn add(&mut self, x: f64, y: f64) {
        self.points.push((x, y));
    }
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 56.0;

/// How far the first and the last point are from the frame.
const INDENT: f64 = 48.0;

/// Two that are told apart on light and on dark, and by people who see no red or no green.
const STYLE: &str = "text { font: 13px sans-serif; fill: #24292f } .title { font-weight: 600 } \
.grid { stroke: #d0d7de } .s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } \
.line { fill: none; stroke-width: 2.5 } text.s0, text.s1 { stroke: none } .s1.line { stroke-dasharray: 7 4 } \
@media (prefers-color-scheme: dark) { text { fill: #d1d7e0 } .grid { stroke: #3d444d } \
.s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #db6d28; fill: #db6d28 } .line { fill: none } }";

impl Plot {
    pub fn svg(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{}\">\n<style>{STYLE}</style>\n",
            self.title
        );
        text(&mut out, LEFT, 24.0, "title", "start", self.title);
        for tick in self.ticks() {
            let y = self.y(tick);
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            )
            .expect("a string takes it");
            text(&mut out, LEFT - 8.0, y + 4.0, "", "end", &short(tick));
        }
        let values = &self.series[0].points;
        for (index, (value, _)) in values.iter().enumerate() {
            let bottom = HEIGHT - BOTTOM + 20.0;
            text(
                &mut out,
                self.x(index),
                bottom,
                "",
                "middle",
                &value.to_string(),
            );
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        text(&mut out, middle, HEIGHT - 12.0, "", "middle", self.x);
        text(&mut out, LEFT, TOP - 18.0, "", "start", self.y);
        for (number, series) in self.series.iter().enumerate() {
            let points = series.points.iter().enumerate();
            let at: Vec<(f64, f64)> = points
                .map(|(index, (_, value))| (self.x(index), self.y(*value)))
                .collect();
            let line: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            writeln!(
                out,
                "<polyline class=\"s{number} line\" points=\"{}\"/>",
                line.join(" ")
            )
            .expect("a string takes it");
            for ((x, y), (_, value)) in at.iter().zip(&series.points) {
                writeln!(
                    out,
                    "<circle class=\"s{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}: {}</title></circle>",
                    series.name,
                    short(*value)
                )
                .expect("a string takes it");
            }
            let y = TOP - 18.0 - 18.0 * (self.series.len() - 1 - number) as f64;
            let class = format!("s{number}");
            let name = format!("● {}", series.name);
            text(&mut out, WIDTH - RIGHT, y, &class, "end", &name);
        }
        out + "</svg>\n"
    }

    fn x(&self, index: usize) -> f64 {
        let last = self.series[0].points.len().saturating_sub(1).max(1);
        let room = WIDTH - LEFT - RIGHT - 2.0 * INDENT;
        LEFT + INDENT + room * index as f64 / last as f64
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range();
        let share = if self.logarithmic {
            (value / low).ln() / (high / low).ln()
        } else {
            (value - low) / (high - low)
        };
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn range(&self) -> (f64, f64) {
        let ticks = self.ticks();
        (ticks[0], ticks[ticks.len() - 1])
    }

    /// Round numbers around all values.
    fn ticks(&self) -> Vec<f64> {
        let values = self.series.iter().flat_map(|series| &series.points);
        let values: Vec<f64> = values.map(|(_, value)| *value).collect();
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        if self.logarithmic {
            let steps = [1.0, 2.0, 5.0];
            let all = (-3..6).flat_map(|power| steps.map(|step| step * 10_f64.powi(power)));
            let all: Vec<f64> = all.collect();
            let first = all.iter().rposition(|tick| *tick <= least).unwrap_or(0);
            let last = all.iter().position(|tick| *tick >= most);
            return all[first..=last.unwrap_or(all.len() - 1)].to_vec();
        }
        let rough = most / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = step
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        (0..=(most / step).ceil() as u32)
            .map(|count| f64::from(count) * step)
            .collect()
    }
}

fn text(out: &mut String, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
    writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    )
    .expect("a string takes it");
}
