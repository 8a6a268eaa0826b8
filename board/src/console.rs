//! The status as text, for the HDMI console, a serial line or a terminal.
//!
//! Words and signs carry the meaning, so it reads the same without colours. A screen of its own
//! (HDMI) is redrawn; elsewhere a new block is written only when something changed, because logs
//! share the place.

use std::io::Write;

use crate::canvas::half_blocks;
use crate::pattern::Pattern;
use crate::qr::Code;
use crate::status::Status;
use crate::text::wrap;
use crate::{Panel, PanelError};

/// How much the place can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text only: a log, a pipe, a serial line.
    Plain,
    /// A terminal that knows ANSI sequences; adds emphasis and the QR code.
    Ansi,
    /// A screen that shows nothing else: cleared before each change.
    Screen,
}

/// Writes the status to any byte sink.
#[derive(Debug)]
pub struct Console<W> {
    sink: W,
    style: Style,
    shown: Option<Status>,
}

impl<W: Write> Console<W> {
    /// Shows nothing until the first status.
    pub fn new(sink: W, style: Style) -> Self {
        Self { sink, style, shown: None }
    }

    fn write(&mut self, status: &Status) -> std::io::Result<()> {
        let mut text = String::new();
        match self.style {
            Style::Screen => text.push_str("\x1b[2J\x1b[H"),
            Style::Plain | Style::Ansi => text.push_str("\r\n"),
        }
        for (i, line) in lines(status).into_iter().enumerate() {
            let emphasis = i == 0 && self.style != Style::Plain;
            let (before, after) = if emphasis { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            text.push_str(before);
            text.push_str(&line);
            text.push_str(after);
            text.push_str("\r\n");
        }
        if let (Some(code), true) = (&status.qr, self.style != Style::Plain) {
            for row in qr_rows(code) {
                // White on black whatever the terminal's own colours: polarity matters.
                text.push_str("     \x1b[97;40m");
                text.push_str(&row);
                text.push_str("\x1b[0m\r\n");
            }
        }
        self.sink.write_all(text.as_bytes())?;
        self.sink.flush()
    }
}

impl<W: Write + Send> Panel for Console<W> {
    fn name(&self) -> String {
        "the console".into()
    }

    fn show(&mut self, status: &Status) -> Result<(), PanelError> {
        if self.shown.as_ref() == Some(status) {
            return Ok(());
        }
        // A failed write is tried again at the next showing.
        self.shown = None;
        self.write(status).map_err(PanelError::Console)?;
        self.shown = Some(status.clone());
        Ok(())
    }
}

/// The status as plain lines of at most 78 characters, without control characters.
pub fn lines(status: &Status) -> Vec<String> {
    let mut lines = vec![format!("[{:^4}] {}", status.state.sign().text(), status.state.word())];
    let mut add = |text: &str| lines.extend(wrap(text, 71).iter().map(|row| indent(row)));
    add(status.state.sentence());
    if !status.name.is_empty() {
        add(&format!("Name: {}", status.name));
    }
    if let Some(address) = &status.address {
        add(&format!("Open: {address}"));
    }
    if let Some(code) = &status.claim_code {
        add(&format!("Code: {code}"));
    }
    if let Some(progress) = status.progress {
        let filled = usize::from(progress.get()) * 40 / 100;
        add(&format!("[{}{}] {progress}", "#".repeat(filled), ".".repeat(40 - filled)));
    }
    for concern in status.state.concerns() {
        add(&format!("{} {}: {}", concern.area.number(), concern.area.name(), concern.advice));
    }
    for line in &status.lines {
        add(line);
    }
    add(&format!("Light: {}", Pattern::of(&status.state).description()));
    lines
}

/// A QR code in half blocks, for white on black. Empty if the text does not fit any code.
pub fn qr_rows(text: &str) -> Vec<String> {
    let Some(code) = Code::new(text) else {
        return Vec::new();
    };
    let light = |x, y| y < code.side() && code.is_light(x, y);
    (0..code.side())
        .step_by(2)
        .map(|y| (0..code.side()).map(|x| half_blocks(light(x, y), light(x, y + 1))).collect())
        .collect()
}

fn indent(row: &str) -> String {
    format!("       {row}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::status::{Area, Concerns, Progress, State};

    fn waiting() -> Status {
        Status {
            name: "pillarbox".into(),
            address: Some("http://192.168.1.23".into()),
            qr: Some("http://192.168.1.23".into()),
            claim_code: Some("4711 0815".into()),
            ..Status::new(State::SetupWaiting)
        }
    }

    #[test]
    fn set_up_shows_address_and_code() {
        let lines = lines(&waiting());
        assert_eq!(
            lines,
            [
                "[ -> ] SET ME UP",
                "       The box waits for its owner to answer a few questions.",
                "       Name: pillarbox",
                "       Open: http://192.168.1.23",
                "       Code: 4711 0815",
                "       Light: a quick double blink every two seconds",
            ]
        );
    }

    #[test]
    fn a_host_name_cannot_steer_the_terminal() {
        let hostile = "a\u{1b}]0;owned\u{7}\u{1b}[2J";
        let status = Status {
            name: hostile.into(),
            address: Some(hostile.into()),
            lines: vec![hostile.into()],
            ..Status::new(State::Broken(Concerns::one(Area::Dns, hostile)))
        };
        assert!(!lines(&status).concat().chars().any(char::is_control));
    }

    #[test]
    fn nothing_is_repeated_until_something_changes() {
        let mut console = Console::new(Vec::new(), Style::Plain);
        console.show(&waiting()).unwrap();
        let once = console.sink.len();
        console.show(&waiting()).unwrap();
        assert_eq!(console.sink.len(), once);
        console.show(&Status::new(State::Ready)).unwrap();
        let text = String::from_utf8(console.sink).unwrap();
        assert!(text.contains("[ ok ] READY\r\n"));
        assert!(!text.contains('\u{1b}'), "a plain console gets no escape sequences");
    }

    #[test]
    fn progress_and_long_advice_stay_within_the_line() {
        let status = Status {
            progress: Some(Progress::percent(50)),
            lines: vec!["word ".repeat(40)],
            ..Status::new(State::Working)
        };
        let lines = lines(&status);
        assert!(lines.iter().all(|line| line.chars().count() <= 78));
        assert!(lines.iter().any(|line| line.contains("[####################....")));
    }

    #[test]
    fn the_code_on_a_terminal_has_a_light_quiet_zone() {
        let rows = qr_rows("http://192.168.1.23");
        assert_eq!(rows.len(), 15);
        assert_eq!(rows.first().unwrap(), &"█".repeat(29));
        assert!(
            rows.iter().all(|row| row.starts_with("████") && row.chars().count() == 29
                || row.starts_with("▀▀▀▀"))
        );
    }
}
