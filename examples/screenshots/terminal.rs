//! Runs a command in a terminal, and draws what the terminal shows.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use vt100::{Color, Parser};

const ROWS: u16 = 60;
/// The size of a character, in pixels.
const WIDTH: f32 = 7.8;
const HEIGHT: f32 = 18.0;
const MARGIN: f32 = 16.0;

/// A terminal that commands run in.
pub struct Terminal {
    pub directory: PathBuf,
    /// A directory that is put before `PATH`.
    pub path: PathBuf,
    pub env: Vec<(String, String)>,
    pub columns: u16,
}

impl Terminal {
    /// Runs `command` and writes its last screen to `image`, or the first one that `wanted` accepts.
    pub async fn take(&self, command: &str, image: &Path, wanted: impl Fn(&str) -> bool) {
        let path = std::env::var("PATH").unwrap_or_default();
        // `script` of util-linux runs it in a terminal of its own.
        let mut script = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command"])
            .arg(format!("stty cols {} rows {ROWS}; {command}", self.columns))
            .arg("/dev/null")
            .current_dir(&self.directory)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("PATH", format!("{}:{path}", self.path.display()))
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux runs");
        let mut output = script.stdout.take().expect("it has a standard output");
        let mut parser = Parser::new(ROWS, self.columns, 0);
        let mut bytes = vec![0; 4096];
        let mut drawn = None;
        loop {
            let count = output.read(&mut bytes).await.expect("it can be read");
            if count == 0 {
                break;
            }
            parser.process(bytes.get(..count).expect("no more than there is room for"));
            if drawn.is_none() && wanted(&parser.screen().contents()) {
                drawn = Some(self.draw(command, parser.screen()));
            }
        }
        script.wait().await.expect("it ends");
        let drawn = drawn.unwrap_or_else(|| self.draw(command, parser.screen()));
        std::fs::write(image, drawn).expect("the image can be written");
        println!("{command}: {}", image.display());
    }

    /// Draws the screen. The scratch directory is shown as the directory of a package's files.
    fn draw(&self, command: &str, screen: &vt100::Screen) -> String {
        let here = self.directory.display().to_string();
        draw(command, screen).replace(&here, "/var/lib/evictd")
    }
}

/// Draws the command, and the screen below it, as SVG.
fn draw(command: &str, screen: &vt100::Screen) -> String {
    let (_, columns) = screen.size();
    let lines: Vec<String> = screen.rows(0, columns).collect();
    let used = lines.iter().rposition(|line| !line.trim().is_empty());
    let rows = small(used.map_or(0, |last| last + 1));
    let width = f32::from(columns) * WIDTH + 2.0 * MARGIN;
    let height = (f32::from(rows) + 2.0) * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n",
        title = escaped(command)
    );
    text(&mut svg, 0, 0, &format!("$ {command}"), "#7fd1b9");
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let (run, color, next) = run(screen, row, column, columns);
            if !run.trim().is_empty() {
                text(&mut svg, row + 2, column, &run, color);
            }
            column = next;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The characters of one color from `column` on, and where they end.
fn run(screen: &vt100::Screen, row: u16, column: u16, columns: u16) -> (String, &'static str, u16) {
    let color_at = |column| {
        screen
            .cell(row, column)
            .map_or("", |cell| hex(cell.fgcolor()))
    };
    let color = color_at(column);
    let mut run = String::new();
    let mut end = column;
    while end < columns && color_at(end) == color {
        let contents = screen.cell(row, end).map_or("", |cell| cell.contents());
        run.push_str(if contents.is_empty() { " " } else { contents });
        end += 1;
    }
    (run, color, end)
}

fn hex(color: Color) -> &'static str {
    match color {
        Color::Idx(1 | 9) => "#ff7b72",
        Color::Idx(2 | 10) => "#7ee787",
        Color::Idx(3 | 11) => "#e3b341",
        Color::Idx(4 | 12) => "#79c0ff",
        Color::Idx(5 | 13) => "#d2a8ff",
        Color::Idx(6 | 14) => "#7fd1b9",
        Color::Idx(8) => "#8b949e",
        _ => "#d7dae0",
    }
}

fn text(svg: &mut String, row: u16, column: u16, content: &str, color: &str) {
    let x = MARGIN + f32::from(column) * WIDTH;
    let y = MARGIN + (f32::from(row) + 0.8) * HEIGHT;
    let content = content.trim_end();
    let content = escaped(content);
    let written = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\" xml:space=\"preserve\">{content}</text>"
    );
    written.expect("text can be written to a string");
}

fn small(count: usize) -> u16 {
    u16::try_from(count).expect("a screen is small")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
