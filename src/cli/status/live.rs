//! `status -w`: the same picture again and again, in its own screen, without flicker and without sleeping.
//!
//! However it ends, by a key, a signal, an error or a panic, the terminal is left as it was found.

use super::Layout;
use super::history::History;
use crate::cli::output::Output;
use crate::cli::{Error, style};
use crate::control::Snapshot;
use crate::model::Signal;
use crate::sys::poll::{Deadline, Interest, wait};
use crate::sys::signals::{self, Signals};
use crate::sys::terminal::Keys;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// A terminal that knows synchronised updates shows a frame whole; others ignore these.
const FRAME_BEGIN: &str = "\x1b[?2026h\x1b[H";
const FRAME_END: &str = "\x1b[J\x1b[?2026l";

/// Shows `render` of what `fetch` answers every `interval`, and at once when the terminal's size changes; on anything but a
/// terminal one after the other.
///
/// # Errors
/// [`Error::interrupted`] after Ctrl-C, what `fetch` fails with, and what standard output fails with.
pub fn run(
    mut fetch: impl FnMut() -> Result<Snapshot, Error>,
    render: impl Fn(&Snapshot, Layout, &History) -> String,
    interval: Duration,
) -> Result<(), Error> {
    let terminal = console::Term::stdout();
    let held = [signals::INTERRUPT, signals::TERMINATE, signals::HANG_UP, signals::RESIZED, signals::TERMINAL_STOP];
    let events = Signals::hold(&held[..if terminal.is_term() { 5 } else { 4 }]).map_err(cannot_wait)?;
    // Fetched first: what fails at once is told on the ordinary screen.
    let mut snapshot = fetch()?;
    let mut history = History::default();
    history.add(&snapshot);
    let mut screen = if terminal.is_term() { Some(Screen::enter()?) } else { None };
    let mut output = Output::stdout()?;
    let mut next = Deadline::after(interval);
    loop {
        let layout = Layout::of_stdout();
        let text = render(&snapshot, layout, &history);
        let heading = heading(&snapshot, layout);
        let picture = match &screen {
            Some(_) => frame(&heading, &text, usize::from(terminal.size().0)),
            None => format!("{heading}\n{text}\n"),
        };
        output.write(picture.as_bytes())?;
        match pause(&events, &output, &mut screen, next)? {
            Wake::Due => {
                snapshot = fetch()?;
                history.add(&snapshot);
                next = Deadline::after(interval);
            }
            Wake::Redraw => {}
            Wake::Suspend => {
                drop(screen.take());
                signals::stop_here().map_err(cannot_wait)?;
                screen = Some(Screen::enter()?);
            }
            Wake::Quit => return Ok(()),
            Wake::Ended(signal) if signal.number() == signals::INTERRUPT => return Err(Error::interrupted()),
            Wake::Ended(signal) => return Err(Error::told(128_u8.saturating_add(signal.number() as u8))),
        }
    }
}

enum Wake {
    Due,
    Redraw,
    Suspend,
    Quit,
    Ended(Signal),
}

fn pause(events: &Signals, output: &Output, screen: &mut Option<Screen>, next: Deadline) -> Result<Wake, Error> {
    loop {
        let left = next.left();
        if left.is_zero() {
            return Ok(Wake::Due);
        }
        let keys = screen.as_ref().and_then(|screen| screen.keys.as_ref());
        let mut interests = vec![Interest::Input(events.as_fd()), Interest::HangUp(output.as_fd())];
        interests.extend(keys.map(|keys| Interest::Input(keys.as_fd())));
        let ready = wait(&interests, Some(left)).map_err(cannot_wait)?;
        match events.next().map_err(cannot_wait)? {
            Some(signal) if signal.number() == signals::RESIZED => return Ok(Wake::Redraw),
            Some(signal) if signal.number() == signals::TERMINAL_STOP => return Ok(Wake::Suspend),
            Some(signal) => return Ok(Wake::Ended(signal)),
            None => {}
        }
        if ready[1] {
            return Ok(Wake::Quit);
        }
        if let (Some(keys), Some(true)) = (keys, ready.get(2)) {
            match keys.typed() {
                Some(typed) if typed.iter().any(|key| matches!(key, b'q' | b'Q')) => return Ok(Wake::Quit),
                Some(_) => {}
                None => screen.iter_mut().for_each(|screen| screen.keys = None),
            }
        }
    }
}

fn cannot_wait(error: io::Error) -> Error {
    Error::failed(format!("cannot wait for the next refresh: {error}"))
}

/// The other screen of the terminal, and its keys; dropping it gives both back.
struct Screen {
    keys: Option<Keys>,
}

impl Screen {
    fn enter() -> Result<Self, Error> {
        let screen = Self { keys: Keys::listen() };
        Output::stdout()?.write(ENTER.as_bytes())?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Output::stdout().and_then(|mut output| output.write(LEAVE.as_bytes()));
    }
}

fn heading(snapshot: &Snapshot, layout: Layout) -> String {
    let supervisor = match &snapshot.supervisor {
        Some(supervisor) => format!("supervisor {}", supervisor.pid),
        None => "no supervisor".to_owned(),
    };
    let time = layout.now.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S %Z");
    layout.cut(&format!("{}  {supervisor}  {time}", style::visible(&snapshot.project.name)))
}

/// Each line overwrites the one of the frame before and clears what is left of it: nothing ever goes blank.
fn frame(heading: &str, text: &str, height: usize) -> String {
    let room = height.max(2) - 1;
    let mut lines = vec![heading, ""];
    lines.extend(text.lines());
    let hidden = lines.len().saturating_sub(room);
    let more = format!("… {} more lines", hidden + 1);
    if hidden > 0 {
        lines.truncate(room - 1);
        lines.push(&more);
    }
    let mut frame = String::from(FRAME_BEGIN);
    for line in lines {
        frame.push_str(line);
        frame.push_str("\x1b[K\r\n");
    }
    frame.push_str(FRAME_END);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_overwrites_instead_of_clearing_and_never_scrolls() {
        let whole = frame("head", "a\nb\n", 24);
        assert_eq!(whole, "\x1b[?2026h\x1b[Hhead\x1b[K\r\n\x1b[K\r\na\x1b[K\r\nb\x1b[K\r\n\x1b[J\x1b[?2026l");
        assert!(!whole.contains("\x1b[2J"));
        let many = "x\n".repeat(100);
        let cut = frame("head", &many, 24);
        assert_eq!(cut.matches("\r\n").count(), 23);
        assert!(cut.contains("… 80 more lines"), "{cut:?}");
        for height in [0, 1, 2, 3] {
            assert!(frame("head", &many, height).matches("\r\n").count() <= height.max(2));
        }
    }
}
